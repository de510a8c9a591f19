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


"""A freeze in a guest that blocks guest-exec, whose host dies in it.

There is no lease in such a guest: a restart undoes the freeze, or another
host. How fast that was is printed.
"""

import copy
import time

from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.faults import faults
from tests.support.faults import scene as scenes
from tests.support.faults import steps
from tests.support.machines import guests
from tests.system import base

OTHER = 'vm2'
# A host counts as down when it was silent for so long; the default is 60 s.
DOWN = 10
# At the latest then the guest itself puts its agent back.
BLOCKED_FOR = 120


class FreezeWithoutLeaseTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.server_with_volume()
        cloud.restart_backup(scenes.PLUGIN)
        self.addCleanup(self.permit_exec)
        self.addCleanup(steps.go)

    def permit_exec(self) -> None:
        """Have the agent permit again what tests need."""
        self.guest.press_key()
        self.await_exec()

    def await_exec(self, permitted: bool = True) -> None:
        """Wait until the agent permits again what tests need, or blocks it."""
        console.wait_for(
            f'an agent that {"permits" if permitted else "blocks"} guest-exec',
            lambda: self.guest.permits('guest-exec') == permitted,
            2 * BLOCKED_FOR, failed=(guests.GuestError,))

    def die_while_frozen(self) -> float:
        """Have cinder-backup killed in its freeze; return when."""
        self.guest.run('sh', '-c', guests.block_exec(BLOCKED_FOR))
        self.await_exec(permitted=False)
        steps.arm('frozen')
        self.backup_ = self.storage.create_backup(
            volume_id=self.volume, force=True).id
        self.stage.remove_later('backup', self.backup_)
        try:
            steps.wait()
        except console.CloudError as error:
            self.fail(f'{error}: {self.storage.get_backup(self.backup_)}')
        self.assertEqual('frozen', self.freeze_status())
        faults.kill_service('cinder-backup')
        steps.go()
        return time.monotonic()

    def freeze_status(self) -> str:
        return str(self.guest.command('guest-fsfreeze-status'))

    def assert_thawed(self, since: float, timeout: float, by: str) -> None:
        console.wait_for('a guest that is thawed',
                         lambda: self.freeze_status() == 'thawed', timeout)
        console.say(f'thawed by {by} {time.monotonic() - since:.1f} s after '
                    f'cinder-backup was killed')

    def test_a_restart_thaws_a_guest_without_a_lease(self) -> None:
        since = self.die_while_frozen()
        cloud.restart_backup(scenes.PLUGIN)
        self.assert_thawed(since, 5, 'a restart')
        self.storage.wait_for_status(
            self.storage.get_backup(self.backup_), 'error', wait=60,
            failures=['available'])

    def test_another_host_thaws_a_guest_without_a_lease(self) -> None:
        options = copy.deepcopy(scenes.PLUGIN)
        options['DEFAULT']['service_down_time'] = str(DOWN)
        since = self.die_while_frozen()
        cloud.restart_backup(options, host=OTHER)
        self.addCleanup(cloud.remove_backup, OTHER)
        self.assert_thawed(since, 60, f'another host, for which one is down '
                           f'after {DOWN} s,')
        cloud.restart_backup(scenes.PLUGIN)
