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

"""What may hold data away from what is flagged is seen (G6 to G9, G13)."""

import os
import pathlib
import stat

import ddt

from cinder_wt_backup.guest.guardian.inside import protocol
from tests.support.loop import base

Status = protocol.Status


@ddt.ddt
class SeenTest(base.TestCase):

    def _loop(self, image: pathlib.Path, *options: str) -> str:
        device = base.run('losetup', '-f', '--show', *options, str(image))
        self.addCleanup(base.run, 'losetup', '-d', device, check=False)
        return device

    def test_what_a_later_mount_hides_is_told_hidden(self) -> None:
        disk = self.disk('ext4')
        self.mount_tmpfs(str(self.point))
        self.assertEqual(['hidden'], self.start(disk).states)
        self.assertEqual(Status.DONE, self.release().status)

    def test_what_a_mount_above_hides_is_told_hidden(self) -> None:
        disk = self.disk('ext4')
        base.run('umount', str(self.point))
        above = self.scratch / 'above'
        (above / 'below').mkdir(parents=True)
        self.mount(disk.device, above / 'below')
        self.mount_tmpfs(str(above))
        (above / 'below').mkdir()
        self.assertEqual(['hidden'], self.start(disk).states)
        self.assertEqual(Status.DONE, self.release().status)

    def test_what_is_hidden_but_bound_elsewhere_is_flagged(self) -> None:
        disk = self.disk('ext4')
        (self.point / 'folder').mkdir()
        bound = self.scratch / 'bound'
        bound.mkdir()
        base.run('mount', '--bind', '-o', 'ro', str(self.point / 'folder'),
                 str(bound))
        self.addCleanup(base.run, 'umount', str(bound))
        self.mount_tmpfs(str(self.point))
        ended = self.start(disk)
        self.assertEqual(['flagged'], ended.states)
        self.assertEqual(str(bound), ended.report['filesystems'][0]['point'])
        self.assertIn('sync', self.options(bound))
        self.assertEqual(['undone'], self.release().undone)
        self.assertIn('rw', self.options(bound))

    def test_a_file_system_in_a_file_of_the_volume_is_flagged(self) -> None:
        for kind in ('ext4', 'btrfs'):
            disk = self.disk(kind)
            image = self.point / 'image'
            with open(image, 'wb') as file:
                file.truncate(16 << 20)
            base.run('mkfs.ext4', '-q', str(image))
            inner = self.scratch / f'inner-{kind}'
            device = self._loop(image)
            self.mount(device, inner)
            ended = self.start(disk)
            self.assertEqual(['flagged', 'flagged'], ended.states)
            self.assertEqual([1, 0], [each['depth'] for each in
                                      ended.report['filesystems']])
            self.assertEqual(['loop'], ended.remarks)
            self.assertIn('sync', self.options(inner))
            self.assertEqual(['undone', 'undone'], self.release().undone)
            self.assertNotIn('sync', self.options(inner))
            base.run('umount', str(inner))
            base.run('losetup', '-d', device)
            base.run('umount', str(self.point))

    def test_a_read_only_loop_device_holds_nothing_dirty(self) -> None:
        disk = self.disk('ext4')
        image = self.point / 'image'
        with open(image, 'wb') as file:
            file.truncate(16 << 20)
        base.run('mkfs.ext4', '-q', str(image))
        self.mount(self._loop(image, '-r'), self.scratch / 'inner', 'ro')
        ended = self.start(disk)
        self.assertEqual((['flagged'], []), (ended.states, ended.remarks))
        self.release()
        base.run('umount', str(self.scratch / 'inner'))

    def test_an_external_journal_is_remarked(self) -> None:
        journal, disk = base.Disk(self, 16), base.Disk(self, 24)
        base.run('mke2fs', '-q', '-O', 'journal_dev', journal.device)
        base.run('mkfs.ext4', '-q', '-J', f'device={journal.device}',
                 disk.device)
        self.point = self.scratch / 'mnt'
        self.mount(disk.device, self.point)
        for each in (disk, journal):
            self.assertIn('journal', self.start(each).remarks)
            self.assertEqual(Status.DONE, self.release().status)
        base.run('umount', str(self.point))

    def test_an_external_log_of_xfs_is_remarked(self) -> None:
        log, disk = base.Disk(self, 96), base.Disk(self, 320)
        base.run('mkfs.xfs', '-q', '-l', f'logdev={log.device}', disk.device)
        self.point = self.scratch / 'mnt'
        self.mount(disk.device, self.point, f'logdev={log.device}')
        self.assertIn('journal', self.start(disk).remarks)
        self.release()
        base.run('umount', str(self.point))

    def test_a_btrfs_on_two_disks_is_flagged_and_remarked(self) -> None:
        first, second = base.Disk(self, 128), base.Disk(self, 128)
        base.run('mkfs.btrfs', '-q', first.device, second.device)
        base.run('btrfs', 'device', 'scan', first.device, second.device)
        self.point = self.scratch / 'mnt'
        self.mount(first.device, self.point)
        for each in (first, second):
            ended = self.start(each)
            self.assertEqual((['flagged'], ['spans']),
                             (ended.states, ended.remarks))
            self.assertEqual(['undone'], self.release().undone)
        base.run('umount', str(self.point))

    def test_a_mount_without_barriers_is_told(self) -> None:
        disk = self.disk('ext4', 'barrier=0')
        ended = self.start(disk)
        self.assertFalse(ended.report['filesystems'][0]['barrier'])
        self.release()

    def test_a_flush_that_fails_is_told(self) -> None:
        full = self.scratch / 'full'
        full.mkdir()
        self.mount_tmpfs(str(full), 'size=3m')
        self.addCleanup(setattr, self, 'scratch', self.scratch)
        place, self.scratch = self.scratch, full
        disk = base.Disk(self, 24)
        self.scratch = place
        base.run('mkfs.ext4', '-q', '-O', '^has_journal', disk.device)
        self.point = self.scratch / 'mnt'
        self.mount(disk.device, self.point)
        (self.point / 'big').write_bytes(os.urandom(8 << 20))
        entry = self.start(disk).report['filesystems'][0]
        self.assertIn(entry['errors'].get('flush'), ('EIO', 'ENOSPC'))
        self.release()
        base.run('umount', str(self.point))

    def test_a_device_used_without_a_file_system_is_remarked(self) -> None:
        disk = base.Disk(self, 16)
        self.assertEqual([], self.start(disk).remarks)
        self.release()
        with open(disk.device, 'rb'):
            self.assertEqual(['raw'], self.start(disk).remarks)
            self.assertIn('raw', self.release().remarks)

    def test_a_device_used_by_a_node_elsewhere_is_remarked(self) -> None:
        disk = base.Disk(self, 16)
        node = self.scratch / 'node'
        os.mknod(node, 0o600 | stat.S_IFBLK, os.stat(disk.device).st_rdev)
        with open(node, 'rb'):
            self.assertEqual(['raw'], self.start(disk).remarks)
            self.release()

    def test_a_disk_that_was_detached_is_undone_and_not_mounted(self) -> None:
        disk = self.disk('ext4')
        self.assertEqual(1, len(self.start(disk).mounted))
        serial = pathlib.Path('/sys/devices/virtual/block', disk.name,
                              'serial')
        serial.write_text('of another volume')
        ended = self.release()
        self.assertEqual((['undone'], []), (ended.undone, ended.mounted))

    @ddt.data('ext4', 'xfs', 'btrfs')
    def test_a_file_system_without_its_disk_is_undone(self, kind: str) -> None:
        self.start(self.disk(kind))
        self.mount_tmpfs('/sys/dev/block')
        self.assertEqual(['undone'], self.release().undone)
        self.assertNotIn('sync', self.options())

    def test_a_device_that_is_opened_exclusively_is_remarked(self) -> None:
        disk = base.Disk(self, 16)
        alone = os.open(disk.device, os.O_RDONLY | os.O_EXCL)
        self.assertEqual(['raw'], self.start(disk).remarks)
        os.close(alone)
        self.release()

    def test_a_read_only_file_system_is_left_alone(self) -> None:
        disk = self.disk('ext4', 'ro')
        self.assertEqual(['ro'], self.start(disk).states)
        self.assertEqual(['absent'], self.release().undone)
