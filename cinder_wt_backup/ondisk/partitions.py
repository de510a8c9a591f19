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

"""Partition tables: MBR with its logical partitions, and GPT."""

from __future__ import annotations

from collections.abc import Iterator
import struct

from cinder_wt_backup.ondisk import reader

SECTOR = 512
_SIGNATURE = b'\x55\xaa'
_PROTECTIVE = 0xee
_EXTENDED = (0x05, 0x0f, 0x85)
_GPT_MAGIC = b'EFI PART'
# A GPT has room for 128 usually; logical partitions are a chain.
_MOST = 128


def starts(disk: reader.Reader) -> Iterator[int]:
    """Return where the partitions of a disk begin, bytes; none: no table."""
    if disk.read(510, 2) != _SIGNATURE:
        return
    for kind, sector in _entries(disk, 0):
        if kind == _PROTECTIVE:
            yield from _gpt(disk)
            return
        if kind in _EXTENDED:
            yield from _logical(disk, sector)
        elif kind:
            yield sector * SECTOR


def _entries(disk: reader.Reader, table: int) -> list[tuple[int, int]]:
    """Return type and first sector of the four entries of an MBR."""
    entries = [disk.read(table + 446 + 16 * number, 16)
               for number in range(4)]
    return [(entry[4], struct.unpack_from('<I', entry, 8)[0])
            for entry in entries]


def _logical(disk: reader.Reader, extended: int) -> Iterator[int]:
    table, seen = extended, set[int]()
    while table not in seen and len(seen) < _MOST:
        seen.add(table)
        if disk.read(table * SECTOR + 510, 2) != _SIGNATURE:
            return
        (kind, sector), (link, following), *_ = _entries(disk, table * SECTOR)
        if kind:
            yield (table + sector) * SECTOR
        if link not in _EXTENDED:
            return
        table = extended + following


def _gpt(disk: reader.Reader) -> Iterator[int]:
    for sector in (SECTOR, 4096):
        if disk.read(sector, 8) == _GPT_MAGIC:
            break
    else:
        return
    table = disk.unpack('<Q', sector + 72) * sector
    number, size = (min(disk.unpack('<I', sector + 80), _MOST),
                    disk.unpack('<I', sector + 84))
    if not 128 <= size <= 4096:
        return
    entries = disk.read(table, number * size)
    for offset in range(0, number * size, size):
        if any(entries[offset:offset + 16]):
            yield struct.unpack_from('<Q', entries, offset + 32)[0] * sector
