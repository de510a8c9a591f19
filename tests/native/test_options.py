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


"""A window leaves the other options of a file system as they were."""

import pathlib

import ddt

from cinder_wt_backup.guest.guardian.inside import options as table
from tests.support.loop import base

XFS = ('inode32', 'inode64', 'max_atomic_write=16k', 'inode32,noalign',
       'inode32,max_atomic_write=16k', 'allocsize=64k', 'attr2', 'discard',
       'filestreams', 'grpid', 'largeio', 'logbsize=64k', 'nodiscard',
       'swalloc', 'wsync', 'norecovery,ro')
BTRFS = ('noacl', 'noacl,compress=zstd', 'autodefrag', 'commit=99',
         'compress-force=lzo:1', 'flushoncommit', 'nodatasum', 'nodatacow',
         'noacl,ro', 'discard=async', 'nodiscard', 'thread_pool=3',
         'max_inline=0', 'metadata_ratio=3', 'user_subvol_rm_allowed', 'ssd')
EXT4 = ('noauto_da_alloc', 'barrier=1', 'commit=99', 'data=journal',
        'data=writeback', 'delalloc', 'nodelalloc', 'discard', 'errors=panic',
        'errors=remount-ro', 'grpid', 'lazytime', 'max_batch_time=99',
        'user_xattr', 'stripe=16', 'ro', 'noinit_itable', 'dioread_lock',
        'block_validity', 'debug')


@ddt.ddt
class OptionsTest(base.TestCase):

    def check(self, kind: str, options: str) -> None:
        """Compare them before, in and after a window."""
        disk = self.disk(kind, options)
        before, rows = self.options(), self.rows()
        started = self.start(disk)
        self.assertEqual([[]], [each['changed'] for each
                                in started.report['filesystems']])
        self.assertEqual(set() if 'ro' in before else {'sync'},
                         set(self.options()) ^ set(before))
        ended = self.release()
        self.assertEqual([[]], [each['changed'] for each
                                in ended.report['filesystems']])
        self.assertEqual(rows, self.rows())

    def be_old(self) -> None:
        """Have no fspick(2)."""
        known = b'FSPICK = 437, 431, 433'
        self.assertIn(known, base.PROGRAM)
        self.program = base.PROGRAM.replace(known, b'FSPICK = 437, 431, 999')

    def rows(self) -> list[str]:
        """Return all that is mounted, with the options of each mount."""
        return pathlib.Path('/proc/self/mountinfo').read_text().splitlines()

    @ddt.data(*XFS)
    def test_a_window_leaves_options_of_xfs_as_they_were(
            self, options: str) -> None:
        self.check('xfs', options)

    @ddt.data(*BTRFS)
    def test_a_window_leaves_options_of_btrfs_as_they_were(
            self, options: str) -> None:
        self.check('btrfs', options)

    @ddt.data(*EXT4)
    def test_a_window_leaves_options_of_ext4_as_they_were(
            self, options: str) -> None:
        self.check('ext4', options)

    @ddt.data(('xfs', XFS), ('btrfs', BTRFS), ('ext4', EXT4),
              ('ext3', ('commit=99', 'data=journal', 'noatime')),
              ('ext2', ('defaults', 'grpid')))
    @ddt.unpack
    def test_before_linux_5_2_options_stay_as_they_were(
            self, kind: str, every: tuple[str, ...]) -> None:
        """By mount(2)."""
        self.be_old()
        for options in every:
            self.check(kind, options)
            base.run('umount', str(self.point))

    @ddt.data('nosuid,nodev,noexec', 'noatime', 'strictatime',
              'noatime,nodiratime', 'relatime,nodiratime')
    def test_before_linux_5_2_flags_of_the_mount_stay(
            self, options: str) -> None:
        self.be_old()
        self.check('ext4', options)

    def bound(self, *more: str) -> pathlib.Path:
        """Bind the file system once more, with other flags of the mount."""
        bound = self.scratch / 'bound'
        bound.mkdir()
        base.run('mount', '--bind', str(self.point), str(bound))
        self.addCleanup(base.run, 'umount', str(bound), check=False)
        base.run('mount', '-o', ','.join(('remount', 'bind', *more)),
                 str(bound))
        return bound

    def test_before_linux_5_2_a_read_only_bind_mount_stays_so(self) -> None:
        self.be_old()
        disk = self.disk('ext4')
        self.bound('ro')
        before = self.rows()
        self.assertEqual(['flagged'], self.start(disk).states)
        self.assertEqual(['undone'], self.release().undone)
        self.assertEqual(before, self.rows())

    def test_before_linux_5_2_what_is_bound_read_only_is_not_flagged(
            self) -> None:
        self.be_old()
        disk = self.disk('ext4')
        self.bound('ro')
        base.run('umount', str(self.point))
        before = self.rows()
        started = self.start(disk)
        self.assertEqual(['rw'], started.states)
        self.assertEqual({'engage': 'EOPNOTSUPP'},
                         started.report['filesystems'][0]['errors'])
        self.assertEqual(['absent'], self.release().undone)
        self.assertEqual(before, self.rows())

    @ddt.data('ext4', 'xfs')
    def test_before_linux_5_2_read_only_beneath_is_undone(
            self, kind: str) -> None:
        """As after an error of the disk; the mounts are writable again."""
        self.be_old()
        disk = self.disk(kind)
        bound = self.bound('noatime')
        self.start(disk)
        base.run('mount', '-i', '-o', 'remount,ro', str(self.point))
        before = [row.replace(',sync', '') for row in self.rows()]
        self.assertEqual(['undone'], self.release().undone)
        self.assertEqual(before, self.rows())
        base.run('mount', '-i', '-o', 'remount,rw', str(self.point))
        (bound / 'file').touch()

    def test_an_option_that_the_table_lacks_is_put_right(self) -> None:
        known = str(table.SAID_AGAIN['xfs']).encode()
        self.assertIn(known, base.PROGRAM)
        self.program = base.PROGRAM.replace(known, b"('nothing',)")
        self.check('xfs', 'inode32')
