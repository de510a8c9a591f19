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

"""What is on a disk, and whether it needs its journal replayed.

A look at the few blocks that say so, by the formats' own definitions; nothing
is mounted, and nothing written. What is there was written by a guest: every
number is hostile input, and every read is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import enum
from typing import Optional

from cinder_wt_backup.ondisk import btrfs
from cinder_wt_backup.ondisk import ext
from cinder_wt_backup.ondisk import partitions
from cinder_wt_backup.ondisk import reader
from cinder_wt_backup.ondisk import xfs

# Magic numbers of what hides file systems: name, offset, bytes.
_WRAPPERS = (('LUKS', 0, b'LUKS\xba\xbe'),
             *(('LVM', 512 * sector, b'LABELONE') for sector in range(4)),
             ('RAID', 0, b'\xfc\x4e\x2b\xa9'),
             ('RAID', 4096, b'\xfc\x4e\x2b\xa9'))


class State(enum.Enum):
    """How a file system is, or a disk as a whole; the worst one first.

    With several file systems the first of these that holds for one of them
    counts; what is unknown counts only where nothing else is seen.
    """

    JOURNAL = 'journal'
    NOT_VISIBLE = 'not-visible'
    CLEAN = 'clean'
    UNKNOWN = 'unknown'


@dataclasses.dataclass(frozen=True)
class Found:
    """A file system, or what hides one.

    :ivar kind: ``ext`` (with a journal), ``ext2`` (without), ``xfs``,
        ``btrfs``, or what hides it
    :ivar start: where on the disk, bytes
    """

    kind: str
    start: int
    state: State


def look(file: reader.File) -> list[Found]:
    """Return what is on a disk, or in its partitions.

    :param file: seekable; its position is as before afterwards
    :raises OSError: it cannot be read
    """
    position = file.tell()
    try:
        return list(_look(reader.Reader(file)))
    finally:
        file.seek(position)


def summary(found: list[Found]) -> State:
    """Return the state of a whole disk."""
    states = {each.state for each in found}
    return next((state for state in State if state in states), State.UNKNOWN)


def _look(disk: reader.Reader) -> Iterator[Found]:
    whole = _identify(disk)
    if whole:
        yield whole
        return
    for start in partitions.starts(disk):
        if there := _identify(disk.at(start)):
            yield there


_Question = Callable[[reader.Reader], Optional[bool]]
# File systems: name, whether it is there, whether it needs a replay.
_KNOWN: tuple[tuple[str, _Question, _Question], ...] = (
    ('ext', ext.is_there, ext.needs_replay),
    ('ext2', ext.is_there_without_journal, ext.needs_check),
    ('xfs', xfs.is_there, xfs.needs_replay),
    ('btrfs', btrfs.is_there, btrfs.needs_replay))
_STATES = {True: State.JOURNAL, False: State.CLEAN, None: State.UNKNOWN}


def _identify(disk: reader.Reader) -> Found | None:
    for kind, offset, magic in _WRAPPERS:
        if disk.read(offset, len(magic)) == magic:
            return Found(kind, disk.start, State.NOT_VISIBLE)
    for kind, is_there, needs_replay in _KNOWN:
        if is_there(disk):
            return Found(kind, disk.start, _STATES[needs_replay(disk)])
    return None
