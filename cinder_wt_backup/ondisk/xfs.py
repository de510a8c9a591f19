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

"""xfs: its superblock (struct xfs_dsb) and the end of its log.

As the kernel decides it (xlog_find_head, xlog_check_unmount_rec): the log is a
ring of blocks of 512 bytes, each of which begins with the number of the lap in
which it was written. It needs no replay when the last record is an unmount's.
"""

from __future__ import annotations

import struct

from cinder_wt_backup.ondisk import reader

_MAGIC = b'XFSB'
_BLOCK = 512
_RECORD = b'\xfe\xed\xba\xbe'
_UNMOUNT = 0x20
_MOST_BLOCKS = 1 << 22                 # XFS_MAX_LOG_BYTES
# A record of an unmount is padded to the log's stripe: 256 KiB at the most.
_BEHIND = 520


def is_there(disk: reader.Reader) -> bool:
    """Whether there is one."""
    return disk.read(0, 4) == _MAGIC


def needs_replay(disk: reader.Reader) -> bool | None:
    """Whether its log has to be replayed; None: not to be seen.

    That of a frozen xfs always has to: by design a freeze leaves a record
    that makes the next mount look for unlinked inodes.
    """
    log = _Log.of(disk)
    return None if log is None else not log.ends_with_unmount()


class _Log:
    """The ring of blocks.

    :param start: where it begins, bytes
    :param blocks: how many it has
    """

    def __init__(self, disk: reader.Reader, start: int, blocks: int) -> None:
        self._disk, self._start, self._blocks = disk, start, blocks

    @classmethod
    def of(cls, disk: reader.Reader) -> '_Log | None':
        """Return the log of a file system; None: it is on another device."""
        block = disk.unpack('>I', 4)
        place = disk.unpack('>Q', 48)
        blocks = disk.unpack('>I', 96) * block // _BLOCK
        bits = disk.unpack('B', 124)
        if not place or not 0 < blocks <= _MOST_BLOCKS or bits > 31:
            return None
        group, within = place >> bits, place & ((1 << bits) - 1)
        start = (group * disk.unpack('>I', 84) + within) * block
        return cls(disk, start, blocks)

    def ends_with_unmount(self) -> bool:
        """Whether nothing was written since it was unmounted, or made."""
        head = self._head()
        if head == 0:
            return True             # nothing was ever written
        tail = self._before(head, min(_BEHIND, self._blocks))
        end = len(tail) // _BLOCK
        for number in reversed(range(end)):
            record = tail[number * _BLOCK:(number + 1) * _BLOCK]
            if record.startswith(_RECORD):
                return self._is_unmount(record, tail[number * _BLOCK:])
        return False

    @staticmethod
    def _is_unmount(record: bytes, rest: bytes) -> bool:
        """Whether a record is an unmount's, and nothing comes after it."""
        length, operations, size = (
            struct.unpack_from('>I', record, offset)[0]
            for offset in (12, 40, 320))
        headers = max(1, -(-size // 32768))
        first = headers * _BLOCK
        return (operations == 1
                and len(rest) == first + -(-length // _BLOCK) * _BLOCK
                and len(rest) > first + 9
                and bool(rest[first + 9] & _UNMOUNT))

    def _head(self) -> int:
        """Return where the next record goes: the first block of an old lap.

        The number of blocks if all are of one lap; 0 if none was written.
        """
        first, last = self._lap(0), self._lap(self._blocks - 1)
        if first == last:
            return self._blocks if first else 0
        low, high = 0, self._blocks - 1
        while high - low > 1:
            middle = (low + high) // 2
            if self._lap(middle) == first:
                low = middle
            else:
                high = middle
        return high

    def _lap(self, block: int) -> int:
        begin = self._disk.read(self._start + block * _BLOCK, 8)
        lap: int = struct.unpack_from(
            '>I', begin, 4 if begin.startswith(_RECORD) else 0)[0]
        return lap

    def _before(self, head: int, number: int) -> bytes:
        """Return the ``number`` blocks before one, round the ring."""
        first = max(0, head - number)
        near = self._disk.read(self._start + first * _BLOCK,
                               (head - first) * _BLOCK)
        missing = number - (head - first)
        if not missing or not self._lap(self._blocks - 1):
            return near
        return self._disk.read(
            self._start + (self._blocks - missing) * _BLOCK,
            missing * _BLOCK) + near
