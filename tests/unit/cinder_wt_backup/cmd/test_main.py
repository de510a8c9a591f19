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

from importlib import metadata
import io
import time

from cinder.tests.unit import utils
import fixtures

from cinder_wt_backup.cmd import main
from cinder_wt_backup.service import record
from cinder_wt_backup.service import store
from tests.unit import base
from tests.unit.cinder_wt_backup.cmd import base as commands


class CommandTest(commands.CommandTestCase):

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
        for command in ('benchmark', 'check', 'release', 'report',
                        'windows'):
            self.assertIn(command, out)

    def test_without_a_command_it_shows_what_there_is(self) -> None:
        self.config = ''
        status, out, err = self.run_command()
        self.assertEqual((0, ''), (status, err))
        self.assertIn('usage: ', out)
        self.assertIn('release', out)

    def test_what_is_no_command_could_not_begin(self) -> None:
        status, out, _err = self.run_command('chekc')
        self.assertEqual(2, status)
        self.assertIn('Did you mean', out)

    def test_it_says_its_version(self) -> None:
        out = io.StringIO()
        with fixtures.MonkeyPatch('sys.stdout', out):
            self.assertRaises(SystemExit, main.main, ['--version'])
        self.assertIn(metadata.version('cinder-wt-backup'), out.getvalue())
