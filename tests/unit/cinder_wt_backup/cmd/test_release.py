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

import time
from typing import Any

import ddt
import fixtures

from cinder_wt_backup.service import record
from cinder_wt_backup.service import store
from tests.unit import base
from tests.unit.cinder_wt_backup.cmd import base as commands
from tests.unit.fixtures import agent as fake


@ddt.ddt
class ReleaseTest(commands.CommandTestCase):

    options = ('libvirt_hosts = compute1', 'agent_timeout = 5')

    def left_open(self, seconds: float = -1) -> str:
        """Have a window on record whose lease ends so soon; its volume."""
        volume = self.attached()
        store.open_window(self.context, volume.id, record.OpenWindow(
            'backup1', 'its-backup', base.TOKEN, time.time() + seconds))
        return str(volume.id)

    def released(self, *words: str) -> tuple[int, list[tuple[str, str]]]:
        status, out, _err = self.run_command('release', *words, '-f', 'json')
        return status, [(row['volume'], row['result'])
                        for row in self.loads(out)]

    def test_those_whose_leases_have_ended(self) -> None:
        lapsed = self.left_open()
        self.left_open(60)
        self.assertEqual((0, [(lapsed, 'put back')]),
                         self.released('--lapsed'))
        self.assertEqual((0, []), self.released('--lapsed'))

    def test_those_of_an_instance(self) -> None:
        self.left_open()
        volume = self.left_open(60)
        self.assertEqual((0, [(volume, 'put back')]),
                         self.released(self.domain.instance))

    def test_what_cannot_be_put_back_stays_on_record(self) -> None:
        volume = self.left_open(60)
        self.domain.channel = 'disconnected'
        self.assertEqual((1, [(volume, 'still on record')]),
                         self.released(self.domain.instance))
        self.assertTrue(store.is_open(self.context, volume, base.TOKEN))

    def test_what_is_left_to_its_lease_was_not_seen_put_back(self) -> None:
        volume = self.left_open()
        self.domain.channel = 'disconnected'
        self.assertEqual((1, [(volume, 'left to its lease')]),
                         self.released('--lapsed'))

    def test_what_a_guest_does_not_permit_was_not_seen_put_back(self) -> None:
        volume = self.left_open(60)
        self.domain.agent.blocked.add(fake.EXEC)
        self.assertEqual((1, [(volume, 'left to its lease')]),
                         self.released(self.domain.instance))

    def test_one_that_its_process_closes_meanwhile_is_let_be(self) -> None:
        volume = self.left_open(60)
        opened = store.left_open

        def close_then(context: Any) -> Any:
            for found in opened(context):
                store.forget_window(self.context, volume, base.TOKEN)
                yield found
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.service.store.left_open', close_then))
        self.assertEqual(
            (0, [(volume, 'closed by its own process meanwhile')]),
            self.released(self.domain.instance))
        self.assertEqual([], self.domain.agent.commands)

    @ddt.data('release', 'rel')
    def test_without_coordination_nothing_is_done(self, word: str) -> None:
        volume = self.left_open()
        with fixtures.MockPatch('cinder.coordination.COORDINATOR.start',
                                side_effect=OSError('etcd is away')):
            status, _out, err = self.run_command(word, '--lapsed')
        self.assertEqual((1, 'ERROR etcd is away\n'), (status, err))
        self.assertTrue(store.is_open(self.context, volume, base.TOKEN))

    def test_not_by_root_where_the_service_is_another_user(self) -> None:
        with fixtures.MockPatch(
                'cinder_wt_backup.checks.user.other_user',
                return_value='cinder'):
            status, _out, err = self.run_command('release', '--lapsed')
        self.assertEqual(1, status)
        self.assertIn('run this as cinder', err)

    def test_whose_has_to_be_said(self) -> None:
        self.assertRaises(SystemExit, self.run_command, 'release')
