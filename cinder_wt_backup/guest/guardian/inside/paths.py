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

"""Descriptors that are seen to be of the mount that mountinfo named.

A path is never trusted: what it leads to is compared, and from then on only
the descriptor is used. It is one of ``O_PATH``: nothing blocks, no driver and
no FIFO is opened.
"""

import errno
import os
import re
import stat
import typing

from cinder_wt_backup.guest.guardian.inside import mounts
from cinder_wt_backup.guest.guardian.inside import syscalls

MOUNT_ID = re.compile(rb'^mnt_id:\s*([0-9]+)$', re.MULTILINE)
ROOT = syscalls.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class ElsewhereError(OSError):
    """The path leads to something else than the mount."""


def open_mount(mount: mounts.Mount, process: str = 'self') -> int:
    """Return a descriptor of a mount, by a process that sees it.

    :param process: the folder of ``/proc``; ``self`` for our own namespace
    :raises OSError: no descriptor of that mount was got
    """
    root = os.open('/' if process == 'self' else '/proc/%s/root' % process,
                   ROOT)
    try:
        descriptor = _beneath(root, mount.point)
    finally:
        os.close(root)
    try:
        _compare(descriptor, mount, process)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _beneath(root: int, path: bytes) -> int:
    """Open a path without following a link, also not of its parents."""
    try:
        return syscalls.open_inside(root, path.lstrip(b'/') or b'.')
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    return by_components(root, path)


def by_components(root: int, path: bytes) -> int:
    """Do what openat2 does since Linux 5.6."""
    names = [name for name in path.split(b'/') if name]
    at = os.dup(root)
    for place, name in enumerate(names):
        flags = syscalls.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        if place < len(names) - 1:
            flags |= os.O_DIRECTORY
        try:
            if name == b'..':
                raise ElsewhereError(errno.ELOOP, 'a path with ..')
            below = os.open(name, flags, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def mount_id(descriptor: int) -> int:
    """Return the id of the mount that a descriptor is on."""
    info = os.open('/proc/self/fdinfo/%d' % descriptor,
                   os.O_RDONLY | os.O_CLOEXEC)
    try:
        match = MOUNT_ID.search(os.read(info, 4096))
    finally:
        os.close(info)
    if match is None:
        raise ElsewhereError(errno.ENODATA, 'no mount id')
    return int(match.group(1))


def _compare(descriptor: int, mount: mounts.Mount, process: str) -> None:
    """See that it is this mount, of this device and type, now.

    The descriptor keeps the mount's id from being used again, so the row that
    is read after it was opened is of the very mount.
    """
    number = mount_id(descriptor)
    if number != mount.id:
        raise ElsewhereError(errno.EXDEV, 'the path leads elsewhere')
    rows = mounts.read_once('/proc/%s/mountinfo' % process,
                            lambda row: row.id == number,
                            having=b'%d ' % number)
    if not any((row.device, row.type) == (mount.device, mount.type)
               for row in rows):
        raise ElsewhereError(errno.EXDEV, 'the mount is another one by now')


def reopen(descriptor: int) -> int:
    """Open what was checked for reading: folders and files only.

    Only what a superblock itself holds: a bind mount of a device's node
    would open its driver.
    """
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise ElsewhereError(errno.EXDEV, 'neither folder nor file')
    return os.open('/proc/self/fd/%d' % descriptor,
                   os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def preferred(found: typing.List[mounts.Mount]) -> typing.List[mounts.Mount]:
    """Return whole file systems before binds of their parts."""
    return sorted(found, key=lambda mount: (mount.root != b'/', -mount.id))
