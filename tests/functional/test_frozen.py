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

"""Somebody in the guest freezes the file system of a window."""

import time

import ddt

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.service import process
from cinder_wt_backup.window import volume as windows
from tests.functional import base
from tests.support.machines import plugin

Level = claims.Level
LEASE, PATIENCE = 15, 30


@ddt.ddt
class FrozenByOthers(base.OpenWindowTestCase):
    """While a file system is frozen, the kernel lets no flag be moved."""

    def close(self, opened: windows.Window) -> claims.Claim:
        opened.cover()
        return opened.close()

    def freeze(self, script: str = '') -> None:
        """As its admin, a snapshot of LVM or another program does."""
        self.machine.shell(f'fsfreeze -f {self.point}; {script}')
        # Harmless when it was thawed.
        self.addCleanup(self.machine.shell,
                        f'fsfreeze -u {self.point} 2>/dev/null || :')

    def thaw(self) -> None:
        """As who froze it; fails if somebody else thawed it."""
        self.machine.shell(f'fsfreeze -u {self.point}')

    def test_what_was_frozen_is_put_back_by_the_next_try(self) -> None:
        opened = self.open()
        self.freeze()
        proof = self.close(opened)
        self.assertEqual(Level.WRITE_THROUGH, proof.level, proof)
        self.assertTrue(opened.left_changed)
        self.assert_synchronous()
        self.thaw()
        windows.recover([self.target(self.disk)], opened.token, False,
                        plugin.settings(), process.lock)
        self.unchanged_by(self.before)

    def test_what_was_frozen_is_put_back_by_the_lease(self) -> None:
        opened = self.open(lease=LEASE)
        self.freeze()
        self.close(opened)
        time.sleep(LEASE)
        self.assert_synchronous()
        self.thaw()
        self.assert_put_back_in(PATIENCE)

    def test_a_freeze_of_a_moment_is_waited_for(self) -> None:
        opened = self.open()
        self.freeze(f'(sleep 1.5; fsfreeze -u {self.point}) '
                    '>/dev/null 2>&1 </dev/null &')
        self.close(opened)
        self.assertFalse(opened.left_changed)
        self.unchanged_by(self.before)

    @ddt.data('write_through', 'freeze')
    def test_a_freeze_from_before_stays_and_is_the_reason(
            self, method: str) -> None:
        self.freeze()
        with self.window(self.disk, methods=[method],
                         barrier='freeze') as verdict:
            pass
        self.thaw()
        self.assertIn('frozen by somebody else', verdict[0].reason)
        self.unchanged_by(self.before)
