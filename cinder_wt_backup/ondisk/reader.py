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

"""Bounded reads of a disk."""

from __future__ import annotations

import struct
from typing import Protocol

# The superblocks of all that we know are in here; it is read once.
HEAD = 72 << 10
# Of one disk, with all its partitions: far more than is needed.
LIMIT = 64 << 20
# No file has more.
FARTHEST = (1 << 63) - 1


class File(Protocol):
    """What is needed of a file; Cinder's own are adapters of many kinds."""

    def seek(self, offset: int, /) -> object:
        """Go to an offset, bytes."""

    def tell(self) -> int:
        """Return where it is, bytes."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes from there, or what there is."""


class Reader:
    """A disk, or a part of one that begins somewhere on it.

    What lies beyond its end reads as zeros. At most LIMIT bytes are read.

    :ivar start: bytes from the disk's beginning
    """

    def __init__(self, file: File, start: int = 0,
                 budget: list[int] | None = None) -> None:
        self.start = start
        self._file = file
        self._budget = [LIMIT] if budget is None else budget
        self._head = self._fetch(0, HEAD)

    def at(self, start: int) -> 'Reader':
        """Return the part of the disk that begins at ``start`` bytes."""
        return Reader(self._file, self.start + start, self._budget)

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes.

        :raises OSError: they cannot be read, or too much was read already
        """
        if offset + size <= HEAD:
            return self._head[offset:offset + size]
        return self._fetch(offset, size)

    def unpack(self, layout: str, offset: int) -> int:
        """Return the one number that lies at an offset, as by struct."""
        return int(struct.unpack(layout, self.read(
            offset, struct.calcsize(layout)))[0])

    def _fetch(self, offset: int, size: int) -> bytes:
        self._budget[0] -= size
        if self._budget[0] < 0 or size < 0:
            raise OSError(f'what is on the disk takes more than {LIMIT} '
                          'bytes to see')
        if self.start + offset > FARTHEST:
            return bytes(size)
        self._file.seek(self.start + offset)
        data = self._file.read(size)
        return data.ljust(size, b'\0')
