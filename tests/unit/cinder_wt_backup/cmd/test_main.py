# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

import io
import json
import time
from typing import Any

from cinder.tests.unit import utils
import ddt
import fixtures

from cinder_wt_backup.cmd import main
from cinder_wt_backup.service import record
from cinder_wt_backup.service import store
from tests.unit import base


@ddt.ddt
class CommandTest(base.CinderTestCase):
    """What an operator types, with Cinder's options in a file."""

    options = ('libvirt_hosts = compute1,compute2', 'agent_timeout = 5')

    def setUp(self) -> None:
        super().setUp()
        self.config = self.useFixture(fixtures.TempDir()).join('cinder.conf')
        self.configure(*self.options)

    def configure(self, *lines: str) -> None:
        with open(self.config, 'w') as file:
            file.write('\n'.join(['[write_through]', *lines, '']))

    def run_command(self, *words: str) -> tuple[int, str, str]:
        """Return the exit status and what was said on stdout, stderr."""
        out, err = io.StringIO(), io.StringIO()
        with (fixtures.MonkeyPatch('sys.stdout', out),
              fixtures.MonkeyPatch('sys.stderr', err)):
            status = main.main(['--config-file', self.config, *words])
        return status, out.getvalue(), err.getvalue()

    def rows(self, *words: str) -> list[dict[str, Any]]:
        status, out, _err = self.run_command(*words, '-f', 'json')
        self.assertEqual(0, status)
        return json.loads(out)

    def test_check_tries_every_known_host(self) -> None:
        self.attached()
        found = {row['host']: row['result'] for row in self.rows('check')}
        self.assertEqual('ok: 1 instances run there', found['compute1'])
        self.assertIn('nothing listens', found['compute2'])

    def test_check_tries_the_hosts_that_are_named(self) -> None:
        self.assertEqual(['compute7'], [
            row['host'] for row in self.rows('check', 'compute7')])

    @ddt.data('lease = 7', 'methods = pray', 'libvirt_hosts = a/b')
    def test_check_refuses_what_the_service_would(self, line: str) -> None:
        self.configure(line)
        status, _out, err = self.run_command('check')
        self.assertEqual(1, status)
        self.assertIn(f'[write_through] {line.split()[0]}', err)
        self.assertNotIn('Traceback', err)

    def test_windows_lists_those_of_every_host(self) -> None:
        for host in ('backup1', 'backup2'):
            utils.create_service(self.context, {
                'host': host, 'topic': 'cinder-backup',
                'binary': 'cinder-backup'})
            volume = self.volume()
            store.open_window(self.context, volume.id, record.OpenWindow(
                host, f'of-{host}', base.TOKEN, time.time() + 60))
        self.assertEqual(
            [('backup1', 'of-backup1'), ('backup2', 'of-backup2')],
            [(row['host'], row['backup']) for row in self.rows('windows')])

    def test_windows_lists_what_cannot_be_read(self) -> None:
        utils.create_service(self.context, {
            'host': 'backup1', 'topic': 'cinder-backup',
            'binary': 'cinder-backup'})
        self.volume().admin_metadata_update(
            {store.HOST: 'backup1', store.WINDOW: '{"until": 7}'}, False)
        row, = self.rows('windows')
        self.assertIn('cannot be read', row['backup'])

    def test_windows_may_have_nothing_to_list(self) -> None:
        self.assertEqual([], self.rows('windows'))

    def test_benchmark_opens_and_closes_windows(self) -> None:
        volume = self.attached()
        found = self.rows('benchmark', volume.id, '--rounds', '2')
        self.assertEqual(['write-through'] * 2,
                         [row['level'] for row in found])
        self.assertEqual([5, 5], [row['agent round trips'] for row in found])
        self.assertIsNone(self.guardian.holder)

    def test_benchmark_says_why_there_is_nothing_to_measure(self) -> None:
        status, _out, err = self.run_command('benchmark', self.volume().id)
        self.assertEqual(1, status)
        self.assertIn('is attached to nothing', err)

    def test_help_needs_no_configuration(self) -> None:
        self.config = '/nowhere'
        status, out, _err = self.run_command('help')
        self.assertEqual(0, status)
        for command in ('benchmark', 'check', 'windows'):
            self.assertIn(command, out)
