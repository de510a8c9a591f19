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

"""Moves the sync flag of a superblock, and nothing else of it."""

import errno
import os
import typing

from cinder_wt_backup.guest.guardian.inside import mounts
from cinder_wt_backup.guest.guardian.inside import paths
from cinder_wt_backup.guest.guardian.inside import syscalls

# What a remount by mount(2) must be told of the mount, and of the superblock,
# or takes away; a name that is not here is not known to be kept.
OF_MOUNT = {'rw': 0, 'ro': 1, 'nosuid': 2, 'nodev': 4, 'noexec': 8,
            'noatime': 1 << 10, 'nodiratime': 1 << 11, 'relatime': 1 << 21}
OF_SUPERBLOCK = {'ro': 1, 'mand': 1 << 6, 'i_version': 1 << 23,
                 'lazytime': 1 << 25}
SYNCHRONOUS, REMOUNT, BIND, STRICT_ATIME = 1 << 4, 1 << 5, 1 << 12, 1 << 24
# Types for which that was tried, on Linux 4.15. Before 4.14 the inode of a
# folder in sysfs does not tell a superblock from its successor.
REMOUNTED = frozenset({'ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'vfat',
                       'msdos'})
OLDEST = (4, 14)


def move(descriptor: int, sync: bool, read_only: bool,
         again: typing.List[str],
         mount: typing.Optional[mounts.Mount] = None) -> None:
    """Set or take away the flag.

    A context that met a frozen file system is spoiled, and one keeps what it
    was told: it is a new one each time.

    :param descriptor: of ``O_PATH``, checked
    :param read_only: it is read-only now: else a reconfigure makes it
        writable
    :param again: options that a reconfigure must be told
    :param mount: what that descriptor is, as it is now, if it is of our own
        namespace: for Linux before 5.2
    :raises OSError: EBUSY: somebody froze it; EOPNOTSUPP: not by this mount,
        nothing was tried
    """
    try:
        context = syscalls.fspick(descriptor)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        _remount(descriptor, sync, again, mount)
        return
    try:
        for option in again:
            key, _, value = option.partition('=')
            syscalls.fsconfig(
                context, syscalls.SET_STRING if value else syscalls.SET_FLAG,
                key.encode('ascii'), value.encode('ascii'))
        if read_only:
            syscalls.fsconfig(context, syscalls.SET_FLAG, b'ro')
        syscalls.fsconfig(context, syscalls.SET_FLAG,
                          b'sync' if sync else b'async')
        syscalls.fsconfig(context, syscalls.RECONFIGURE)
    finally:
        os.close(context)


def _remount(descriptor: int, sync: bool, again: typing.List[str],
             mount: typing.Optional[mounts.Mount]) -> None:
    """Do it by mount(2).

    It sets flags of the mount and of the superblock at once. Where the latter
    is read-only and the former is not, as after an error of the disk, those
    of the mount are put right after it.
    """
    if mount is None or syscalls.kernel() < OLDEST:
        raise OSError(errno.EOPNOTSUPP, 'no way to move the flag')
    own = own_flags(mount)
    flags = superblock_flags(mount, _has_versions(descriptor, mount))
    path = b'/proc/self/fd/%d' % descriptor
    syscalls.mount(path, REMOUNT | own | flags | (SYNCHRONOUS * sync),
                   ','.join(again).encode('ascii'))
    if flags & ~own & OF_MOUNT['ro']:
        syscalls.mount(path, REMOUNT | BIND | own, b'')


def own_flags(mount: mounts.Mount) -> int:
    """Return the flags of a mount.

    :raises OSError: EOPNOTSUPP: a remount would lose one, or make the whole
        superblock read-only as the mount is
    """
    own = mount.options.split(',')
    if (mount.type not in REMOUNTED or set(own) - set(OF_MOUNT)
            or ('ro' in own) > ('ro' in mounts.options_of(mount))):
        raise OSError(errno.EOPNOTSUPP, 'no way to move the flag')
    return sum(OF_MOUNT[name] for name in own) | (
        0 if {'noatime', 'relatime'} & set(own) else STRICT_ATIME)


def superblock_flags(mount: mounts.Mount, versions: bool) -> int:
    """Return the flags of a superblock but ours.

    :param versions: it counts changes of inodes, which only ext4 shows
    """
    flags = OF_SUPERBLOCK['i_version'] * versions
    for name in mounts.options_of(mount):
        flags |= OF_SUPERBLOCK.get(name, 0)
    return flags


def _has_versions(descriptor: int, mount: mounts.Mount) -> bool:
    """Whether it has that flag without showing it.

    btrfs always has; xfs in its version 5, as everything of the last ten
    years. Where that cannot be read any more, its disk is gone.
    """
    if mount.type != 'xfs':
        return mount.type == 'btrfs'
    try:
        opened = paths.reopen(descriptor)
    except OSError:
        return True
    try:
        return syscalls.xfs_has_checksums(opened)
    finally:
        os.close(opened)
