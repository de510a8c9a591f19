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

"""What a guest's admin does meanwhile is as without us (G10, G16, G22)."""

import fcntl
import os
import pathlib
import signal
import struct
import subprocess
import time

import ddt

from cinder_wt_backup.guest.guardian.inside import protocol
from tests.support.loop import base

Status = protocol.Status
GOING_DOWN = 0x8004587d         # EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN


@ddt.ddt
class AdminTest(base.TestCase):

    def open_window(self, disk: base.Disk, state: str = 'flagged',
                    **fields: object) -> base.Ended:
        ended = self.start(disk, **fields)
        self.assertEqual([state], ended.states, ended.report)
        return ended

    @ddt.data('ext4', 'xfs', 'btrfs')
    def test_an_admins_own_sync_stays(self, kind: str) -> None:
        disk = self.disk(kind, 'sync')
        self.open_window(disk, 'sync')
        self.assertEqual(['absent'], self.release().undone)
        self.assertIn('sync', self.options())

    @ddt.data('ext4', 'xfs', 'btrfs')
    def test_a_read_only_file_system_stays_so(self, kind: str) -> None:
        disk = self.disk(kind)
        base.run('mount', '-o', 'remount,ro', str(self.point))
        self.open_window(disk, 'ro')
        self.release()
        self.assertIn('ro', self.options())

    @ddt.data('ext4', 'xfs', 'btrfs')
    def test_a_remount_read_only_in_the_window_stays(self, kind: str) -> None:
        disk = self.disk(kind)
        self.open_window(disk)
        base.run('mount', '-i', '-o', 'remount,ro', str(self.point))
        self.assertEqual(Status.DONE, self.release().status)
        self.assertIn('ro', self.options())
        self.assertNotIn('sync', self.options())

    @ddt.data('ext4', 'xfs', 'btrfs')
    def test_a_new_mount_with_sync_keeps_it(self, kind: str) -> None:
        disk = self.disk(kind)
        self.open_window(disk)
        base.run('umount', str(self.point))
        self.mount(disk.device, self.point, 'sync')
        ended = self.release()
        self.assertEqual((Status.DONE, ['other']),
                         (ended.status, ended.undone))
        self.assertIn('sync', self.options())

    def test_an_unmounted_device_can_be_checked_in_the_window(self) -> None:
        disk = self.disk('ext4')
        self.open_window(disk)
        (self.point / 'big').write_bytes(os.urandom(4 << 20))
        base.run('umount', str(self.point))
        base.run('fsck.ext4', '-fn', disk.device)
        ended = self.release()
        self.assertEqual(['other'], ended.undone)
        self.assertEqual([], ended.mounted)

    @ddt.data('ext4', 'xfs', 'btrfs')
    def test_a_file_system_made_anew_is_not_touched(self, kind: str) -> None:
        disk = self.disk(kind)
        self.open_window(disk)
        (self.point / 'big').write_bytes(os.urandom(4 << 20))
        base.run('umount', str(self.point))
        base.run(f'mkfs.{kind}', '-q', '-F' if kind == 'ext4' else '-f',
                 disk.device)
        self.mount(disk.device, self.point, 'sync')
        self.assertEqual(['other'], self.release().undone)
        self.assertIn('sync', self.options())

    def test_a_file_system_that_grows_in_the_window_is_undone(self) -> None:
        """As ext4 does in a guest, in tests/functional/test_live_changes."""
        disk = self.disk('xfs')
        size = os.statvfs(self.point).f_blocks
        self.open_window(disk)
        with open(disk.file, 'r+b') as file:
            file.truncate(os.path.getsize(disk.file) + (64 << 20))
        base.run('losetup', '-c', disk.device)
        base.run('xfs_growfs', str(self.point))
        self.assertEqual(['undone'], self.release().undone)
        self.assertGreater(os.statvfs(self.point).f_blocks, size)

    @ddt.data('ext4', 'xfs')
    def test_a_device_that_fails_in_the_window_is_undone(
            self, kind: str) -> None:
        """As the kernel shuts it down then: nothing can be written to it."""
        disk = self.disk(kind)
        self.open_window(disk)
        opened = os.open(self.point, os.O_RDONLY)
        fcntl.ioctl(opened, GOING_DOWN, struct.pack('=I', 2))
        os.close(opened)
        ended = self.release()
        self.assertEqual((Status.DONE, ['undone']),
                         (ended.status, ended.undone))
        self.assertNotIn('sync', self.options())
        base.run('umount', str(self.point))

    @ddt.data('ext4', 'xfs')
    def test_a_device_that_failed_before_is_not_flushed(
            self, kind: str) -> None:
        disk = self.disk(kind)
        opened = os.open(self.point, os.O_RDONLY)
        fcntl.ioctl(opened, GOING_DOWN, struct.pack('=I', 2))
        os.close(opened)
        started = self.start(disk)
        self.assertEqual(Status.DONE, started.status)
        entry, = started.report['filesystems']
        self.assertEqual('none', entry['flush'])
        self.assertEqual(Status.DONE, self.release().status)
        self.assertNotIn('sync', self.options())

    def test_sigterm_to_all_ends_the_window(self) -> None:
        """As at a shutdown: SIGTERM to all, then SIGKILL to what is left."""
        self.open_window(self.disk('ext4'))
        self.kill(self.holders(), signal.SIGTERM)
        self.wait_until_undone()
        self.assertEqual(Status.LAPSED, self.release().status)

    @ddt.data('ext4', 'xfs')
    def test_a_lazy_unmount_with_an_open_folder_is_undone(
            self, kind: str) -> None:
        disk = self.disk(kind)
        self.open_window(disk)
        (self.point / 'deep').mkdir()
        held = os.open(self.point / 'deep', os.O_RDONLY)
        base.run('umount', '-l', str(self.point))
        self.assertEqual(['undone'], self.release().undone)
        self.assertFalse(os.fstatvfs(held).f_flag & os.ST_SYNCHRONOUS)
        os.close(held)

    def test_a_lazy_unmount_leaves_read_only_what_was_made_so(self) -> None:
        self.open_window(self.disk('ext4'))
        base.run('mount', '-i', '-o', 'remount,ro', str(self.point))
        held = os.open(self.point, os.O_RDONLY)
        base.run('umount', '-l', str(self.point))
        self.assertEqual(['undone'], self.release().undone)
        self.assertTrue(os.fstatvfs(held).f_flag & os.ST_RDONLY)
        os.close(held)

    def test_a_lazy_unmount_with_an_open_file_is_stuck(self) -> None:
        disk = self.disk('ext4')
        self.open_window(disk)
        file = open(self.point / 'file', 'w')
        base.run('umount', '-l', str(self.point))
        ended = self.release()
        self.assertEqual((Status.STUCK, ['stuck']),
                         (ended.status, ended.undone))
        self.assertTrue((base.RECORD / 'journal').exists())
        self.mount(disk.device, self.point)     # the same superblock again
        self.wait_until_undone()
        file.close()

    def test_a_freeze_of_somebody_else_is_not_ended(self) -> None:
        disk = self.disk('ext4')
        self.open_window(disk)
        base.run('fsfreeze', '-f', str(self.point))
        try:
            ended = self.release()
            self.assertEqual((Status.STUCK, ['frozen']),
                             (ended.status, ended.undone))
            time.sleep(1.5)
        finally:
            base.run('fsfreeze', '-u', str(self.point))
        self.wait_until_undone()

    def test_a_freeze_of_ours_is_ended_when_overdue(self) -> None:
        disk = self.disk('ext4')
        self.open_window(disk, freeze=1, barrier='always')
        base.run('fsfreeze', '-f', str(self.point))
        started = time.monotonic()
        (self.point / 'file').write_text('waits')
        self.assertGreater(time.monotonic() - started, 0.4)
        self.assertEqual(['undone'], self.release().undone)

    def test_a_freeze_after_ours_was_thawed_is_not_ended(self) -> None:
        disk = self.disk('ext4')
        self.open_window(disk, freeze=1, barrier='always')
        self.assertEqual(Status.DONE, self.command('thawed').status)
        base.run('fsfreeze', '-f', str(self.point))
        time.sleep(2.2)
        base.run('fsfreeze', '-u', str(self.point))     # fails when thawed
        self.assertEqual(['undone'], self.release().undone)

    @ddt.data('ext4', 'xfs', 'btrfs')
    def test_a_pulse_leaves_the_file_system_thawed(self, kind: str) -> None:
        disk = self.disk(kind)
        ended = self.open_window(disk, pulse='always')
        self.assertEqual('done', ended.report['filesystems'][0]['pulse'])
        (self.point / 'file').write_text('thawed')
        self.release()

    def test_a_mount_in_another_namespace_only_is_flagged_and_undone(
            self) -> None:
        disk = self.disk('ext4')
        other = subprocess.Popen(['unshare', '-m', 'sleep', '60'])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        self.wait_for(lambda: os.readlink(f'/proc/{other.pid}/ns/mnt')
                      != os.readlink('/proc/self/ns/mnt'))
        base.run('umount', str(self.point))
        ended = self.open_window(disk)
        self.assertFalse(ended.report['filesystems'][0]['own'])
        rows = f'/proc/{other.pid}/mountinfo'
        self.assertIn('sync', _options(rows, str(self.point)))
        self.assertEqual(['undone'], self.release().undone)
        self.assertNotIn('sync', _options(rows, str(self.point)))


def _options(mountinfo: str, point: str) -> list[str]:
    """Return the options of what is mounted at a point."""
    for line in pathlib.Path(mountinfo).read_text().splitlines():
        if line.split(' ')[4] == point:
            return line.split(' ')[-1].split(',')
    raise AssertionError('not mounted')


class ByOptionsTest(base.TestCase):
    """A file system that has no folder in sysfs, as FAT: here, ext4 is one."""

    def setUp(self) -> None:
        super().setUp()
        known = b"BY_OPTIONS = frozenset({'vfat', 'msdos'})"
        self.assertIn(known, base.PROGRAM)
        self.program = base.PROGRAM.replace(
            known, b"BY_OPTIONS = frozenset({'ext4'})")
        self.volume_disk = self.disk('ext4')
        self.assertEqual(['flagged'], self.start(self.volume_disk).states)

    def test_a_hidden_file_system_is_stuck_until_it_is_seen(self) -> None:
        base.run('mount', '-t', 'tmpfs', 'none', str(self.point))
        ended = self.release()
        self.assertEqual((Status.STUCK, ['stuck']),
                         (ended.status, ended.undone))
        base.run('umount', str(self.point))
        self.wait_until_undone()

    def test_a_remount_with_another_option_is_undone(self) -> None:
        base.run('mount', '-i', '-o', 'remount,sync,lazytime',
                 str(self.point))
        self.assertEqual(['undone'], self.release().undone)
        self.assertNotIn('sync', self.options())

    def test_an_unmounted_file_system_counts_as_gone(self) -> None:
        base.run('umount', str(self.point))
        self.assertEqual((Status.DONE, ['other']), (
            (ended := self.release()).status, ended.undone))

    def test_a_new_mount_with_other_options_is_not_touched(self) -> None:
        base.run('umount', str(self.point))
        self.mount(self.volume_disk.device, self.point, 'sync,nodelalloc')
        self.assertEqual(['other'], self.release().undone)
        self.assertIn('sync', self.options())
