#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


import errno

import ddt

from cinder_wt_backup.guest.guardian.inside import flag
from cinder_wt_backup.guest.guardian.inside import mounts
from tests.support import bounded

RDONLY, NOSUID, NODEV, NOEXEC = (1 << bit for bit in range(4))
MANDLOCK, NOATIME, NODIRATIME = 1 << 6, 1 << 10, 1 << 11
RELATIME, I_VERSION, STRICTATIME, LAZYTIME = (
    1 << bit for bit in (21, 23, 24, 25))


def mount(own: str, kind: str = 'ext4', options: str = 'rw') -> mounts.Mount:
    row = mounts.parse(f'30 1 254:16 / /mnt {own} shared:9 - {kind} '
                       f'/dev/vdb {options}'.encode())
    assert row is not None
    return row


@ddt.ddt
class RemountTest(bounded.TestCase):
    """What mount(2) is told, before Linux 5.2: linux/mount.h's numbers."""

    @ddt.data(
        ('rw,relatime', 'rw', RELATIME, 0),
        ('rw', 'rw', STRICTATIME, 0),
        ('rw,noatime', 'rw', NOATIME, 0),
        ('rw,nodiratime,relatime', 'rw', NODIRATIME | RELATIME, 0),
        ('rw,nosuid,nodev,noexec,relatime', 'rw,lazytime,mand',
         NOSUID | NODEV | NOEXEC | RELATIME, LAZYTIME | MANDLOCK),
        ('rw,relatime', 'rw,i_version', RELATIME, I_VERSION),
        ('ro,relatime', 'ro', RDONLY | RELATIME, RDONLY),
        # As an error of the disk leaves it.
        ('rw,relatime', 'ro', RELATIME, RDONLY))
    @ddt.unpack
    def test_all_else_is_said_again(self, own: str, options: str, of_it: int,
                                    beneath: int) -> None:
        row = mount(own, options=options)
        self.assertEqual(of_it, flag.own_flags(row))
        self.assertEqual(beneath, flag.superblock_flags(row, False))

    def test_what_is_there_without_being_shown(self) -> None:
        self.assertEqual(I_VERSION, flag.superblock_flags(
            mount('rw', 'xfs'), True))

    @ddt.data(('ro,relatime', 'ext4'), ('rw,nosymfollow', 'ext4'),
              ('rw,relatime', 'f2fs'))
    @ddt.unpack
    def test_where_something_else_would_change_it_is_refused(
            self, own: str, kind: str) -> None:
        error = self.assertRaises(OSError, flag.own_flags, mount(own, kind))
        self.assertEqual(errno.EOPNOTSUPP, error.errno)
