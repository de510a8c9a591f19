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

"""The records that the writer appends and the checker looks for.

Record number ``n`` of a run sits in file ``n % files``, at slot
``n // files``: so the order in which records were written can be checked
across files. The run's name is part of each record, so that what an earlier
run left in reused blocks is not taken for a record of this one.
"""

from __future__ import annotations

import collections.abc
import hashlib
import os
import pathlib
import struct

SIZE = 4096
_HEADER = struct.Struct('<8s16sQ')
_MAGIC = b'wtrecord'
_DIGEST = 16


class Codec:
    """Makes and recognises the records of one run."""

    def __init__(self, run: str) -> None:
        self._run = hashlib.blake2b(run.encode(), digest_size=16).digest()
        filler = SIZE - _HEADER.size - _DIGEST
        self._filler = hashlib.shake_128(self._run).digest(filler)

    def encode(self, number: int) -> bytes:
        """Return record ``number``: header, filler, checksum."""
        body = _HEADER.pack(_MAGIC, self._run, number) + self._filler
        return body + hashlib.blake2b(body, digest_size=_DIGEST).digest()

    def valid(self, number: int, found: bytes) -> bool:
        """Tell whether ``found`` is record ``number``, whole, undamaged."""
        return found == self.encode(number)


def place(number: int, files: int) -> tuple[int, int]:
    """Return the file's index and the slot in it of record ``number``."""
    return number % files, number // files


def path(directory: pathlib.Path, index: int) -> pathlib.Path:
    """Return where the records file ``index`` is."""
    return directory / f'records-{index:02d}'


def slots(file: pathlib.Path) -> collections.abc.Iterator[bytes]:
    """Read a file of records slot by slot; a missing file has none.

    The last slot may be short. A slot that cannot be read counts as empty:
    a damaged filesystem is a finding, not an error of the checker.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return
    try:
        size = os.fstat(descriptor).st_size
        for offset in range(0, size, SIZE):
            yield _slot(descriptor, offset)
    finally:
        os.close(descriptor)


def _slot(descriptor: int, offset: int) -> bytes:
    try:
        return os.pread(descriptor, SIZE, offset)
    except OSError:
        return b''
