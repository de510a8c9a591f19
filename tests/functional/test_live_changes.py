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

"""What may happen to a guest, or in it, while its window is open."""

from collections.abc import Iterator
import contextlib
import threading
import time

import ddt

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.guest import reach
from tests.functional import base
from tests.support.cloud import layout
from tests.support.machines import live_machine
from tests.support.machines import machine
from tests.support.machines import second_host

Level = claims.Level
LEASE = 10
# Seconds in which a window ends, whatever happened: far more than it takes.
BOUND = 60
EXT4, BTRFS = 'mkfs.ext4 -q', 'mkfs.btrfs -q'
OPTIONS = 'awk -v point={} \'$5 == point {{ print $6, $NF }}\' ' \
    '/proc/self/mountinfo'


@ddt.ddt
class LiveChanges(base.TestCase):
    """A lower level and a reason; never a hang, never a leftover.

    On a guest of their own, which is rebooted, shut off and migrated. (That
    an agent is restarted is in test_lease.)
    """

    own: live_machine.LiveMachine

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.own = live_machine.LiveMachine()
        cls.addClassCleanup(cls.own.remove)

    def setUp(self) -> None:
        super().setUp()
        self.uris: tuple[str, ...] = (layout.LIBVIRT_TCP_URI,)

    def booted(self) -> machine.Machine:
        return self.own

    def target(self, disk: machine.Disk, **other: object) -> reach.Target:
        return super().target(disk, uris=self.uris, **other)

    @contextlib.contextmanager
    def open(self, disk: machine.Disk, **values: object
             ) -> Iterator[list[claims.Claim]]:
        """Keep a window open, whose end must come soon after the change."""
        with contextlib.ExitStack() as stack:
            verdict = stack.enter_context(self.window(disk, **values))
            yield verdict
            changed = time.monotonic()
            stack.close()
            self.assertLess(time.monotonic() - changed, BOUND)

    def mounted_volume(self, mkfs: str = EXT4) -> tuple[machine.Disk, str]:
        disk = self.volume()
        return disk, self.mount(disk.name, mkfs)

    def assert_level(self, level: Level, words: str,
                     verdict: list[claims.Claim]) -> None:
        """See that it claims that, and says why."""
        self.assertEqual(level, verdict[0].level, verdict)
        if words:
            self.assertIn(words, verdict[0].reason)
        else:
            self.assertEqual('', verdict[0].reason)

    def assert_put_back(self, before: str) -> None:
        """See that the guest gets as it was by its lease."""
        end = time.monotonic() + LEASE + BOUND
        while self.machine.guest.state() != before and time.monotonic() < end:
            time.sleep(0.5)
        self.unchanged_by(before)

    def assert_next_window_holds(self, disk: machine.Disk) -> None:
        """See that nothing is left and that a window has its full level."""
        self.assertEqual('', self.machine.guest.left())
        before = self.machine.guest.state()
        with self.window(disk) as verdict:
            pass
        self.assert_level(Level.WRITE_THROUGH, '', verdict)
        self.unchanged_by(before)

    def test_a_pause_is_crash_consistent_and_put_back(self) -> None:
        disk, _point = self.mounted_volume()
        before = self.machine.guest.state()
        with self.open(disk, lease=LEASE, agent_timeout=5) as verdict:
            self.machine.suspend()
        self.machine.resume()
        self.assert_level(Level.CRASH, 'does not run', verdict)
        self.assert_put_back(before)

    def test_a_pause_that_has_ended_keeps_the_level(self) -> None:
        disk, _point = self.mounted_volume()
        before = self.machine.guest.state()
        with self.open(disk) as verdict:
            self.machine.suspend()
            time.sleep(1)
            self.machine.resume()
        self.assert_level(Level.WRITE_THROUGH, '', verdict)
        self.unchanged_by(before)

    def test_a_pause_that_ends_in_the_close_keeps_the_level(self) -> None:
        disk, _point = self.mounted_volume()
        before = self.machine.guest.state()
        resume = threading.Timer(2, self.machine.resume)
        with self.open(disk) as verdict:
            self.machine.suspend()
            resume.start()
        resume.join()
        self.assert_level(Level.WRITE_THROUGH, '', verdict)
        self.unchanged_by(before)

    def test_a_guest_that_is_shut_off_is_flushed(self) -> None:
        disk, point = self.mounted_volume()
        self.machine.define()
        self.addCleanup(self.machine.undefine)
        with self.open(disk) as verdict:
            self.machine.shut_off()
        self.machine.start()
        self.machine.shell(f'mount /dev/{disk.name} {point}')
        self.assert_level(Level.FLUSHED, 'was shut off', verdict)
        self.assert_next_window_holds(disk)

    def test_a_guest_that_is_rebooted_is_flushed(self) -> None:
        disk, point = self.mounted_volume()
        with self.open(disk) as verdict:
            self.machine.reboot()
        self.machine.shell(f'mount /dev/{disk.name} {point}')
        self.assert_level(Level.FLUSHED, 'a reboot', verdict)
        self.assert_next_window_holds(disk)

    @ddt.data(EXT4, BTRFS)
    def test_a_volume_that_is_detached_is_flushed(self, mkfs: str) -> None:
        disk = self.machine.add_disk()
        self.mount(disk.name, mkfs)
        before = self.machine.guest.state()
        with self.open(disk) as verdict:
            self.machine.detach(disk)
        self.assert_level(Level.FLUSHED, 'detached', verdict)
        # Not even what has lost its disk stays synchronous.
        self.unchanged_by(before)

    def test_a_volume_that_grows_keeps_the_level(self) -> None:
        disk, point = self.mounted_volume()
        with self.open(disk) as verdict:
            self.machine.resize(disk, 2 * machine.DISK_SIZE)
            self.machine.shell(f'resize2fs -p /dev/{disk.name}')
            grown = self.machine.shell(OPTIONS.format(point))
        self.assert_level(Level.WRITE_THROUGH, 'mb_optimize_scan', verdict)
        # From some size on, ext4 shows an option that it did not show before.
        self.assertIn(',sync', grown)
        self.assertEqual(grown.replace(',sync', ''),
                         self.machine.shell(OPTIONS.format(point)))
        self.assertEqual('', self.machine.guest.left())

    @ddt.data(
        (EXT4, 'umount {1}; mount {0} {1}',
         Level.FLUSHED, 'unmounted', 'rw,relatime rw'),
        (EXT4, 'umount {1}; mount -o sync {0} {1}',
         Level.FLUSHED, 'unmounted', 'rw,relatime rw,sync'),
        (EXT4, 'mount -o remount,async {1}',
         Level.FLUSHED, 'without sync', 'rw,relatime rw'),
        # That sync was asked for is not to be seen: it was there already.
        (EXT4, 'mount -o remount,noatime {1}; mount -o remount,sync {1}',
         Level.WRITE_THROUGH, '', 'rw,noatime rw'),
        (EXT4, 'mount -o remount,ro {1}',
         Level.WRITE_THROUGH, '', 'ro,relatime ro'),
        (BTRFS, 'mount -o remount,ro {1}', Level.WRITE_THROUGH, '',
         'ro,relatime ro,space_cache=v2,subvolid=5,subvol=/'))
    @ddt.unpack
    def test_a_mount_that_the_admin_changes_stays_so(
            self, mkfs: str, change: str, level: Level, words: str,
            options: str) -> None:
        disk, point = self.mounted_volume(mkfs)
        with self.open(disk) as verdict:
            self.machine.shell(change.format(f'/dev/{disk.name}', point))
        self.assert_level(level, words, verdict)
        self.assertEqual(options, self.machine.shell(OPTIONS.format(point)))
        self.assertEqual('', self.machine.guest.left())

    def test_a_guest_that_is_migrated_keeps_the_level(self) -> None:
        other = self.useFixture(second_host.SecondHost())
        self.uris = (layout.LIBVIRT_TCP_URI, other.uri)
        disk, _point = self.mounted_volume()
        before = self.machine.guest.state()
        with self.open(disk) as verdict:
            self.machine.migrate(other.uri)
            self.addCleanup(self.machine.migrate, layout.LIBVIRT_TCP_URI)
        self.assert_level(Level.WRITE_THROUGH, '', verdict)
        self.unchanged_by(before)
