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

"""What tells a superblock from the next one at the same place.

The kernel makes its folder in sysfs anew with every mount, with an inode that
was not there before. Device numbers and mount ids are the same again.

FAT has no such folder, and yet must be told: nearly every boot volume has an
EFI system partition. It is known by its options. So an admin who unmounts it
in a window and mounts it again with ``sync``, and all else as before, loses
that ``sync``.
"""

import binascii
import os
import typing

from cinder_wt_backup.guest.guardian.inside import mounts
from cinder_wt_backup.guest.guardian.inside import options
from cinder_wt_backup.guest.guardian.inside import paths
from cinder_wt_backup.guest.guardian.inside import syscalls

# Under which name a driver has its folders in /sys/fs.
DRIVERS = {'ext2': 'ext4', 'ext3': 'ext4', 'ext4': 'ext4', 'xfs': 'xfs',
           'f2fs': 'f2fs'}
BY_OPTIONS = frozenset({'vfat', 'msdos'})


def folder_of(mount: mounts.Mount, descriptor: int, sys: str = '/sys',
              known: str = '') -> str:
    """Return the superblock's folder in sysfs; empty: it has none."""
    if mount.type == 'btrfs':
        return _btrfs_folder(descriptor, sys)
    if mount.type not in DRIVERS:
        return ''
    try:
        link = os.readlink('%s/dev/block/%s' % (sys, mount.device))
    except OSError:
        # Unplugged; nobody else has its number, or there would be a link.
        return known.rpartition('#')[0]
    folder = '%s/fs/%s/%s' % (sys, DRIVERS[mount.type],
                              os.path.basename(link))
    return folder if os.path.isdir(folder) else ''


def _btrfs_folder(descriptor: int, sys: str) -> str:
    opened = paths.reopen(descriptor)
    try:
        digits = binascii.hexlify(syscalls.btrfs_identity(opened)).decode()
    finally:
        os.close(opened)
    folder = '%s/fs/btrfs/%s' % (sys, '-'.join(
        (digits[:8], digits[8:12], digits[12:16], digits[16:20],
         digits[20:])))
    return folder if os.path.isdir(folder) else ''


def of(mount: mounts.Mount, descriptor: int, sys: str = '/sys',
       known: str = '') -> str:
    """Return a folder of sysfs with its inode, or FAT's options.

    Empty: it cannot be told from its successor, and gets no flag.

    :param known: what it was when its disk was there still
    """
    if mount.type in BY_OPTIONS:
        return by_options(mount)
    folder = folder_of(mount, descriptor, sys, known)
    if folder:
        return '%s#%d' % (folder, os.stat(folder).st_ino)
    return ''


def by_options(mount: mounts.Mount) -> str:
    """Return the identity of FAT."""
    return 'options#' + ','.join(
        options.identifying(mounts.options_of(mount)))


def lives(identity: str) -> typing.Optional[bool]:
    """Whether that superblock is there, mounted or not; None: who knows."""
    if identity.startswith('options#'):
        return None
    folder, _, number = identity.rpartition('#')
    try:
        return os.stat(folder).st_ino == int(number)
    except FileNotFoundError:
        return False
