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

"""Guests that permit less: guest-exec blocked, frozen by somebody, paused."""

import threading
import time

from cinder_wt_backup.claims import claim as claims
from tests.functional import base
from tests.support.machines import guests

Level = claims.Level
# At the latest then the guest itself puts its agent back.
BLOCKED_FOR = 120


class Freeze(base.TestCase):
    """The method freeze, where nothing can be run in the guest."""

    def test_blocked_guest_exec_is_frozen_unless_forbidden(self) -> None:
        disk = self.volume()
        point = self.mount(disk.name, 'mkfs.ext4 -q')
        before = self.machine.guest.state()
        self.machine.shell(guests.block_exec(BLOCKED_FOR))
        self.addCleanup(self.machine.guest.press_key)
        written = self.machine.shell(
            f'dd if=/dev/urandom of={point}/f bs=1M count=20 2>/dev/null; '
            f'sha256sum <{point}/f')
        self._wait_for_exec(False)
        with self.window(disk) as verdict:
            snapshot = disk.snapshot()
        with self.window(disk, freeze_without_lease=False) as forbidden:
            pass
        self.machine.guest.press_key()
        self._wait_for_exec(True)
        self.assertEqual(Level.FILESYSTEM, verdict[0].level, verdict)
        self.assertEqual('freeze', verdict[0].method)
        self.assertGreater(verdict[0].freeze_ms, 0)
        self.assertEqual(Level.CRASH, forbidden[0].level, forbidden)
        self.assertIn('freeze_without_lease', forbidden[0].reason)
        self.unchanged_by(before)
        restored = self.restored(snapshot).name
        self.assertEqual(written, self.machine.shell(
            f'mkdir -p /mnt/r; mount -o ro,noload /dev/{restored} /mnt/r; '
            f'sha256sum </mnt/r/f; umount /mnt/r'))

    def test_somebody_elses_freeze_is_left_alone(self) -> None:
        disk = self.volume()
        point = self.mount(disk.name, 'mkfs.ext4 -q')
        self.machine.guest.command('guest-fsfreeze-freeze-list',
                                   mountpoints=[point])
        try:
            with self.window(disk, lock_timeout=3) as verdict:
                pass
            self.assertEqual('frozen', self.machine.guest.command(
                'guest-fsfreeze-status'))
        finally:
            self.machine.guest.command('guest-fsfreeze-thaw')
        self.assertEqual(Level.CRASH, verdict[0].level, verdict)
        self.assertIn('frozen', verdict[0].reason)

    def test_another_hosts_freeze_is_waited_for(self) -> None:
        disk = self.volume()
        point = self.mount(disk.name, 'mkfs.ext4 -q')
        before = self.machine.guest.state()
        self.machine.guest.command('guest-fsfreeze-freeze-list',
                                   mountpoints=[point])
        thaw = threading.Timer(3, self.machine.guest.command,
                               ('guest-fsfreeze-thaw',))
        thaw.start()
        with self.window(disk) as verdict:
            pass
        thaw.join()
        self.assertEqual(Level.WRITE_THROUGH, verdict[0].level, verdict)
        self.unchanged_by(before)

    def test_a_paused_guest_is_crash_consistent(self) -> None:
        disk = self.volume()
        self.machine.suspend()
        try:
            with self.window(disk) as verdict:
                pass
        finally:
            self.machine.resume()
        self.assertEqual(Level.CRASH, verdict[0].level, verdict)
        self.assertIn('does not run', verdict[0].reason)

    def _wait_for_exec(self, enabled: bool) -> None:
        end = time.monotonic() + 2 * BLOCKED_FOR
        while time.monotonic() < end:
            try:
                if self.machine.guest.permits('guest-exec') == enabled:
                    return
            except guests.GuestError:
                pass
            time.sleep(1)
        self.fail(f'guest-exec is not {"" if enabled else "not "}enabled')
