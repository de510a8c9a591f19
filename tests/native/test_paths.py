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

"""A descriptor is that of the mount that was named, or none (G1, G5)."""

import os
import pathlib

import ddt

from cinder_wt_backup.guest.guardian.inside import identity
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import mounts
from cinder_wt_backup.guest.guardian.inside import paths
from cinder_wt_backup.guest.guardian.inside import syscalls
from cinder_wt_backup.guest.guardian.inside import undo
from cinder_wt_backup.guest.guardian.inside import ways
from cinder_wt_backup.guest.guardian.inside import work
from tests.support.loop import base


def _old_kernel(root: int, path: bytes) -> int:
    raise OSError(38, 'ENOSYS')


@ddt.ddt
class PathTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.above = self.scratch / 'above'
        self.above.mkdir()
        self.point = self.above / 'mnt'
        self.point.mkdir()
        self.mount_tmpfs(str(self.point))
        self.row = self._row()

    def _row(self) -> mounts.Mount:
        rows = mounts.read('/proc/self/mountinfo', lambda mount:
                           mount.point == os.fsencode(self.point))
        return rows[-1]

    def _old(self, old: bool) -> None:
        if old:
            self.addCleanup(setattr, syscalls, 'open_inside',
                            syscalls.open_inside)
            syscalls.open_inside = _old_kernel

    @ddt.data(True, False)
    def test_the_mount_that_is_named_is_opened(self, old: bool) -> None:
        self._old(old)
        descriptor = paths.open_mount(self.row)
        self.assertEqual(self.row.id, paths.mount_id(descriptor))
        os.close(descriptor)

    @ddt.data(True, False)
    def test_a_parent_that_became_a_link_is_refused(self, old: bool) -> None:
        self._old(old)
        os.rename(self.above, self.scratch / 'moved')
        os.symlink('moved', self.above)
        self.assertRaises(OSError, paths.open_mount, self.row)
        self.above.unlink()
        os.rename(self.scratch / 'moved', self.above)

    @ddt.data(True, False)
    def test_a_parent_that_was_swapped_is_refused(self, old: bool) -> None:
        self._old(old)
        os.rename(self.above, self.scratch / 'moved')
        self.point.mkdir(parents=True)
        self.assertRaises(paths.ElsewhereError, paths.open_mount, self.row)
        self.point.rmdir()
        self.above.rmdir()
        os.rename(self.scratch / 'moved', self.above)

    def test_a_mount_of_another_device_or_type_is_refused(self) -> None:
        for other in (self.row._replace(device='9:99'),
                      self.row._replace(type='ext4')):
            self.assertRaises(paths.ElsewhereError, paths.open_mount, other)

    def test_a_mount_is_opened_through_the_root_of_a_process(self) -> None:
        descriptor = paths.open_mount(self.row, str(os.getpid()))
        self.assertEqual(self.row.id, paths.mount_id(descriptor))
        os.close(descriptor)

    def test_neither_fifo_nor_device_is_opened_for_reading(self) -> None:
        os.mkfifo(self.point / 'fifo')
        os.mknod(self.point / 'node', 0o20600, os.makedev(1, 5))
        for name in ('fifo', 'node'):
            descriptor = os.open(self.point / name, syscalls.O_PATH)
            self.assertRaises(paths.ElsewhereError, paths.reopen, descriptor)
            os.close(descriptor)

    def test_no_descriptor_is_left(self) -> None:
        before = len(os.listdir('/proc/self/fd'))
        os.close(paths.open_mount(self.row))
        self.assertRaises(OSError, paths.open_mount,
                          self.row._replace(type='x'))
        self.assertEqual(before, len(os.listdir('/proc/self/fd')))


class IdentityTest(base.TestCase):

    def _record(self, disk: base.Disk) -> journal.Record:
        number = pathlib.Path(
            f'/sys/class/block/{disk.name}/dev').read_text().strip()
        return work.prepare(journal.Record(number, 'ext4', '', 'self', [],
                                           [], False, False))

    def test_a_new_mount_at_the_same_place_is_not_touched(self) -> None:
        disk = self.disk('ext4')
        before = self._record(disk)
        base.run('umount', str(self.point))
        self.assertFalse(identity.lives(before.identity))
        self.mount(disk.device, self.point)
        after = self._record(disk)
        self.assertEqual(before.device, after.device)
        self.assertNotEqual(before.identity, after.identity)
        self.assertRaises(ways.LostError, work.flush, before)
        base.run('mount', '-o', 'remount,sync', str(self.point))
        self.assertEqual('other', undo.undo(before))
        self.assertIn('sync', self.options())

    def test_a_file_system_that_is_not_listed_is_stuck(self) -> None:
        disk = self.disk('ext4')
        record = self._record(disk)
        work.engage(record)
        self.addCleanup(setattr, mounts, 'read', mounts.read)
        read, mounts.read = mounts.read, lambda *_: []
        self.assertEqual('stuck', undo.undo(record))
        mounts.read = read
        self.assertEqual('undone', undo.undo(record))
