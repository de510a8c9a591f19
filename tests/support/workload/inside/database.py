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

"""The SQLite database of the workload: its rows, and a look at them.

A row also says how many records were acknowledged before it was written: so
the order of writes can be checked across programs.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import hashlib
import pathlib
import sqlite3

SCHEMA = ('CREATE TABLE entries (id INTEGER PRIMARY KEY,'
          ' records INTEGER NOT NULL, body TEXT NOT NULL)')
INSERT = 'INSERT INTO entries (id, records, body) VALUES (?, ?, ?)'
_SELECT = 'SELECT id, records, body FROM entries'
_BODY_BYTES = 512


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a database has; ``integrity`` is ``ok`` or what is wrong.

    Of the ``required`` rows, committed before the backup was asked for,
    ``lost`` are missing or changed. ``out_of_order`` counts rows that are
    there although a record acknowledged before them is not.
    """

    required: int
    valid: int
    lost: int
    out_of_order: int
    integrity: str


def path(directory: pathlib.Path) -> pathlib.Path:
    """Return where the database is on the volume."""
    return directory / 'rows.sqlite'


def row(run: str, number: int, records: int) -> tuple[int, int, str]:
    """Return row ``number``, written after that many records."""
    seed = f'{run} {number} {records}'.encode()
    return number, records, hashlib.shake_128(seed).hexdigest(_BODY_BYTES)


def check(directory: pathlib.Path, run: str, required: int, records: int,
          ) -> Findings:
    """Open the database as an application would, and see what it has.

    The first ``records`` records of the run are there. SQLite rolls a hot
    journal back by itself, so the filesystem must be writable.
    """
    uri = path(directory).absolute().as_uri() + '?mode=rw'
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            integrity = _integrity(connection)
            right = _right_rows(connection.execute(_SELECT), run)
    except sqlite3.Error as error:
        integrity, right = str(error), {}
    return Findings(
        required=required, valid=len(right), integrity=integrity,
        lost=len(set(range(required)) - right.keys()),
        out_of_order=sum(before > records for before in right.values()))


def _integrity(connection: sqlite3.Connection) -> str:
    found = connection.execute('PRAGMA integrity_check(5)').fetchall()
    return '; '.join(text for text, in found)


def _right_rows(rows: collections.abc.Iterable[tuple[int, int, str]],
                run: str) -> dict[int, int]:
    return {found[0]: found[1] for found in rows
            if found == row(run, *found[:2])}
