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

"""Who uses a device of the volume that no file system is mounted from."""

import errno
import os
import stat
import time
import typing

from cinder_wt_backup.guest.guardian.inside import blocks
from cinder_wt_backup.guest.guardian.inside import protocol

EXPORTS = ('kernel/config/nvmet/subsystems/%s/namespaces/%s/device_path',
           'kernel/config/target/core/%s/%s/udev_path')


def swap_names(proc: str = '/proc') -> typing.Set[str]:
    """Return the names of devices that are swap."""
    lines = blocks.attribute('%s/swaps' % proc).splitlines()[1:]
    return {os.path.basename(line.split(b' ')[0]).decode('ascii', 'replace')
            for line in lines if line.startswith(b'/dev/')}


def is_held_exclusively(device: blocks.Device, dev: str = '/dev') -> bool:
    """Whether the kernel or somebody has it alone; not provable: yes."""
    try:
        descriptor = os.open(
            '%s/%s' % (dev, device.name), os.O_RDONLY | os.O_EXCL
            | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        return error.errno != errno.ENOMEDIUM
    try:
        is_at = os.fstat(descriptor)
        return not stat.S_ISBLK(is_at.st_mode) or device.number != '%d:%d' % (
            os.major(is_at.st_rdev), os.minor(is_at.st_rdev))
    finally:
        os.close(descriptor)


def is_open(numbers: typing.Set[str], end: float, proc: str = '/proc'
            ) -> typing.Optional[bool]:
    """Whether a process has one of them open; None: not all were seen."""
    for process in blocks.names(proc):
        if not process.isdigit():
            continue
        if time.monotonic() > end:
            return None
        for name in blocks.names('%s/%s/fd' % (proc, process)):
            if _number('%s/%s/fd/%s' % (proc, process, name)) in numbers:
                return True
    return False


def _number(link: str) -> str:
    """Return the device number of an open file; empty: it is no device.

    A node may be anywhere, so that this asks files of any file system, and
    may hang: the look has told of what it saw before.
    """
    try:
        if not os.readlink(link).startswith('/'):
            return ''           # a socket, a pipe and the like
        is_at = os.stat(link)
    except OSError:
        return ''
    if not stat.S_ISBLK(is_at.st_mode):
        return ''
    return '%d:%d' % (os.major(is_at.st_rdev), os.minor(is_at.st_rdev))


def is_exporting(sys: str = '/sys') -> bool:
    """Whether this kernel exports devices to others: any at all."""
    if blocks.names('%s/class/rnbd-server/ctl/devices' % sys):
        return True
    for pattern in EXPORTS:
        above, rest = ('%s/%s' % (sys, pattern)).split('/%s/', 1)
        for one in blocks.names(above):
            middle = rest.partition('%s')[0].rstrip('/')
            below = '%s/%s/%s' % (above, one, middle) if middle else (
                '%s/%s' % (above, one))
            if any(blocks.attribute('%s/%s/%s' % (
                    below, two, rest.rpartition('/')[2]))
                   for two in blocks.names(below)):
                return True
    return False


def remarks(loose: typing.List[blocks.Device], end: float,
            proc: str = '/proc', sys: str = '/sys', dev: str = '/dev'
            ) -> blocks.Remarks:
    """Return what was seen of the users of loose devices."""
    seen: blocks.Remarks = set()
    swap = swap_names(proc)
    if any(device.name in swap for device in loose):
        seen.add(protocol.Remark.SWAP)
    rest = [device for device in loose if device.name not in swap]
    if is_exporting(sys) and rest:
        seen.add(protocol.Remark.KERNEL)
    if any(is_held_exclusively(device, dev) for device in rest):
        seen.add(protocol.Remark.RAW)
    elif rest:
        open_ = is_open({device.number for device in rest}, end, proc)
        if open_ is not False:
            seen.add(protocol.Remark.RAW if open_ else protocol.Remark.UNSEEN)
    return seen
