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

"""System calls that Python does not have, and their numbers.

Those numbers are the same on every architecture that is listed here.
"""

import ctypes
import fcntl
import os
import re
import struct
import sys
import time
import typing

OPENAT2, FSCONFIG, FSPICK = 437, 431, 433
FSPICK_ANY = 1 | 2 | 4 | 8      # close on exec, follow nothing, empty path
SET_FLAG, SET_STRING, RECONFIGURE = 0, 1, 7
INSIDE = 0x02 | 0x04 | 0x10     # no magic links, no symlinks, in that root
O_PATH = 0o10000000
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
MAPPER_STATUS, MAPPER_TABLE = 0xC138FD0C, 1 << 4
MAPPER_HEAD, MAPPER_ROOM = 312, 1 << 14
BTRFS_FS_INFO = 0x8400941F
LOOP_STATUS = 0x4C05
XFS_GEOMETRY, XFS_VERSION_5 = 0x80705864, 1 << 15
CLOCK_BOOTTIME = 7
# And what mlockall(2) is told: all now and later; the same, but no page before
# it is touched (since Linux 4.4).
MACHINES = {'x86_64': (3, 7), 'aarch64': (3, 7), 's390x': (3, 7),
            'riscv64': (3, 7), 'loongarch64': (3, 7),
            'ppc64le': (0x6000, 0xe000)}

libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _call(number: int, *arguments: object) -> int:
    return _check(libc.syscall(ctypes.c_long(number), *arguments))


def fspick(descriptor: int) -> int:
    """Return a context that reconfigures that mount's superblock."""
    return _call(FSPICK, ctypes.c_int(descriptor), b'',
                 ctypes.c_uint(FSPICK_ANY))


def fsconfig(context: int, command: int, key: bytes = b'',
             value: bytes = b'') -> None:
    """Tell a context something, or make it happen."""
    _call(FSCONFIG, ctypes.c_int(context), ctypes.c_uint(command),
          key or None, value or None, ctypes.c_int(0))


def mount(point: bytes, flags: int, data: bytes) -> None:
    """Change what is mounted at a point."""
    _check(libc.mount(b'none', point, None, ctypes.c_ulong(flags),
                      data or None))


def open_inside(root: int, path: bytes) -> int:
    """Open a path beneath a root, following no link; ENOSYS before 5.6."""
    how = struct.pack('=QQQ', O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, 0,
                      INSIDE)
    return _call(OPENAT2, ctypes.c_int(root), path, how,
                 ctypes.c_size_t(len(how)))


def syncfs(descriptor: int) -> None:
    """Write everything of a superblock; raises what went wrong."""
    _check(libc.syncfs(ctypes.c_int(descriptor)))


def freeze(descriptor: int) -> None:
    """Freeze a superblock; EBUSY: it is frozen already."""
    fcntl.ioctl(descriptor, FIFREEZE, 0)


def thaw(descriptor: int) -> None:
    """Thaw a superblock; EINVAL: it is not frozen."""
    fcntl.ioctl(descriptor, FITHAW, 0)


def mapper_targets(control: int, major: int, minor: int
                   ) -> typing.Set[bytes]:
    """Return the types of a device-mapper device's targets.

    :param control: a descriptor of ``/dev/mapper/control``
    """
    number = minor & 0xff | major << 8 | (minor & ~0xff) << 12
    answer = bytearray(MAPPER_ROOM)
    struct.pack_into('=5I2i2I4xQ', answer, 0,
                     4, 0, 0, MAPPER_ROOM, MAPPER_HEAD, 0, 0,
                     MAPPER_TABLE, 0, number)
    fcntl.ioctl(control, MAPPER_STATUS, answer)
    start, count = struct.unpack_from('=2I', answer, 16)
    found, at = set(), start
    for _ in range(min(count, MAPPER_ROOM // 40)):
        following, kind = struct.unpack_from('=20xI16s', answer, at)
        found.add(kind.split(b'\0')[0])
        at = start + following
    return found


def file_system_type(descriptor: int) -> int:
    """Return the magic number of the file system that a descriptor is on."""
    answer = ctypes.create_string_buffer(256)
    _check(libc.fstatfs(ctypes.c_int(descriptor), answer))
    kind, = struct.unpack_from('=I', answer.raw,
                               4 if sys.byteorder == 'big' else 0)
    return int(kind)


def lock_memory() -> None:
    """Keep all of this process, also what it will need, in memory."""
    _check(libc.mlockall(MACHINES[os.uname().machine][0]))


def lock_shared_memory() -> None:
    """Keep a child in memory that shares its pages with its parent.

    A page that it writes to becomes its own then. What it has of files is
    fetched now: its parent may end. Before Linux 4.4 it is not kept there;
    such a kernel has nothing that a child must undo.
    """
    if libc.mlockall(MACHINES[os.uname().machine][1]) < 0:
        return
    with open('/proc/self/maps', 'rb') as maps:
        areas = [line.split(None, 5) for line in maps]
    for area in areas:
        first, last = (int(part, 16) for part in area[0].split(b'-'))
        if area[1].startswith(b'r-') and area[4] != b'0':
            libc.mlock(ctypes.c_void_p(first), ctypes.c_size_t(last - first))


def kernel() -> typing.Tuple[int, int]:
    """Return the first two numbers of the kernel's version."""
    found = re.match('([0-9]+)[.]([0-9]+)', os.uname().release)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def xfs_has_checksums(descriptor: int) -> bool:
    """Whether an xfs is of version 5 of its format."""
    answer = bytearray(112)
    fcntl.ioctl(descriptor, XFS_GEOMETRY, answer)
    flags, = struct.unpack_from('=I', answer, 92)
    return bool(flags & XFS_VERSION_5)


def btrfs_identity(descriptor: int) -> bytes:
    """Return the sixteen bytes of a btrfs' identity."""
    answer = bytearray(1024)
    fcntl.ioctl(descriptor, BTRFS_FS_INFO, answer)
    return bytes(answer[16:32])


def loop_file(descriptor: int) -> typing.Tuple[int, int, int]:
    """Return device number and inode of the file under a loop device."""
    answer = bytearray(232)
    fcntl.ioctl(descriptor, LOOP_STATUS, answer)
    device, inode = struct.unpack_from('=QQ', answer, 0)
    return (device >> 8 & 0xfff | device >> 32 & 0xfffff000,
            device & 0xff | device >> 12 & 0xffffff00, inode)


def boot_clock() -> float:
    """Return seconds since boot, those asleep too.

    By its number, because Python has the name since 3.7 only.
    """
    return time.clock_gettime(CLOCK_BOOTTIME)
