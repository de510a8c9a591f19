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

"""What applications do: plain writes, committed rows, much dirty data."""

from __future__ import annotations

import collections.abc
import contextlib
import itertools
import os
import pathlib
import sqlite3
import time

from tests.support.workload.inside import acks
from tests.support.workload.inside import database
from tests.support.workload.inside import record

_MIB = 1 << 20


def paced(rate: float) -> collections.abc.Iterator[int]:
    """Count 0, 1, 2, ... at ``rate`` a second at most.

    What a stall cost is not made up for: the burst after it would only
    measure the writer itself.
    """
    due = time.monotonic()
    for number in itertools.count():
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due, time.monotonic()) + 1 / rate
        yield number


def write_records(directory: pathlib.Path, log: acks.Log, run: str,
                  files: int, numbers: collections.abc.Iterable[int]) -> None:
    """Append records with write(2), round-robin over files, never synced."""
    codec = record.Codec(run)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(
            open(record.path(directory, index), 'ab', buffering=0))
            for index in range(files)]
        for number in numbers:
            data = codec.encode(number)
            index, _ = record.place(number, files)
            began = time.monotonic_ns()
            written = os.write(opened[index].fileno(), data)
            if written != record.SIZE:
                raise OSError(f'record {number}: {written} bytes written')
            log.add(began)


def write_rows(directory: pathlib.Path, log: acks.Log, run: str,
               records: pathlib.Path, numbers: collections.abc.Iterable[int],
               ) -> None:
    """Commit one row at a time, in SQLite's default modes.

    ``records`` is the log of the other writer's acknowledgements.
    """
    with contextlib.closing(
            sqlite3.connect(database.path(directory))) as connection:
        with connection:
            connection.execute(database.SCHEMA)
        for number in numbers:
            row = database.row(run, number, acks.count(records))
            began = time.monotonic_ns()
            with connection:
                connection.execute(database.INSERT, row)
            log.add(began)


def write_bulk(directory: pathlib.Path, mebibytes: int) -> None:
    """Leave that much new data in the page cache, and end."""
    block = os.urandom(_MIB)
    # What is written over an old file is flushed when it is closed.
    (directory / 'bulk').unlink(missing_ok=True)
    with open(directory / 'bulk', 'wb', buffering=0) as file:
        for number in range(mebibytes):
            file.write(number.to_bytes(8, 'little') + block[8:])
