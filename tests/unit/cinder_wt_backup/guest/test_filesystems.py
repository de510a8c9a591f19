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
import dataclasses

import ddt

from cinder_wt_backup.guest import filesystems
from tests.unit import base


@dataclasses.dataclass(frozen=True)
class Mounted:
    kind: str
    mountpoint: str


ROOT = Mounted('ext4', '/')
EFI = Mounted('vfat', '/boot/efi')


@ddt.ddt
class ByFreezeTest(base.TestCase):

    @ddt.data('ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'f2fs', 'jfs', 'gfs2',
              'NTFS', 'other')
    def test_what_may_be_frozen_is_counted_on(self, kind: str) -> None:
        mounted = Mounted(kind, '/srv')
        self.assertEqual(filesystems.Sorted([mounted], [], []),
                         filesystems.by_freeze([mounted]))

    @ddt.data('vfat', 'msdos', 'exfat', 'udf', 'fuseblk', 'ntfs3')
    def test_what_no_kernel_freezes_may_be_dirty(self, kind: str) -> None:
        mounted = Mounted(kind, '/srv')
        self.assertEqual(filesystems.Sorted([ROOT], [], [mounted]),
                         filesystems.by_freeze([ROOT, mounted]))

    @ddt.data('iso9660', 'squashfs', 'erofs')
    def test_what_is_never_dirty_lowers_nothing(self, kind: str) -> None:
        self.assertEqual(
            filesystems.Sorted([ROOT], [], []),
            filesystems.by_freeze([ROOT, Mounted(kind, '/srv')]))

    @ddt.data('/boot/efi', '/efi', '/boot')
    def test_the_efi_system_partition_is_told_apart(self, point: str) -> None:
        efi = Mounted('vfat', point)
        self.assertEqual(filesystems.Sorted([ROOT], [efi], []),
                         filesystems.by_freeze([efi, ROOT]))

    @ddt.data(('ext4', '/boot/efi'), ('vfat', '/srv'), ('vfat', '/boot/efi2'),
              ('exfat', '/efi'))
    @ddt.unpack
    def test_by_its_type_and_where_it_is(self, kind: str, point: str) -> None:
        self.assertEqual([], filesystems.by_freeze(
            [ROOT, Mounted(kind, point)]).efi)

    def test_alone_it_is_one_like_others(self) -> None:
        self.assertEqual(filesystems.Sorted([], [], [EFI]),
                         filesystems.by_freeze([EFI]))


class RemarkTest(base.TestCase):

    def test_it_names_what_is_not_covered(self) -> None:
        self.assertEqual('the EFI system partition at /boot/efi is not '
                         'covered', filesystems.remark([EFI, EFI]))

    def test_about_nothing_it_is_empty(self) -> None:
        self.assertEqual('', filesystems.remark([]))
