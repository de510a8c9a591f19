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

"""Looks at the records of a mounted restore: what is there, in order."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib

from tests.support.workload.inside import record


@dataclasses.dataclass(frozen=True)
class Promise:
    """What was acknowledged to a run before the backup was asked for.

    Records ``0`` to ``records - 1`` over ``files`` files, and as many rows.
    """

    run: str
    files: int
    records: int
    rows: int


@dataclasses.dataclass(frozen=True)
class Findings:
    """What is there of the records.

    All before number ``unbroken`` are. ``lost`` counts required records that
    are missing or damaged; ``out_of_order`` records that are there although
    an earlier one is not, which no point in time of an ordered writer can
    show; ``damaged`` slots without their record, required or not.
    """

    required: int
    valid: int
    unbroken: int
    lost: int
    out_of_order: int
    damaged: int


def check(directory: pathlib.Path, promise: Promise) -> Findings:
    """Compare the files of records with what was acknowledged."""
    valid, damaged = _read(directory, promise)
    lost = set(range(promise.records)) - valid
    unbroken = next(n for n in itertools.count() if n not in valid)
    return Findings(
        required=promise.records, valid=len(valid), unbroken=unbroken,
        lost=len(lost), out_of_order=len(valid) - unbroken, damaged=damaged)


def _read(directory: pathlib.Path, promise: Promise) -> tuple[set[int], int]:
    codec = record.Codec(promise.run)
    valid: set[int] = set()
    damaged = 0
    for index in range(promise.files):
        found = record.slots(record.path(directory, index))
        for slot, data in enumerate(found):
            number = slot * promise.files + index
            if codec.valid(number, data):
                valid.add(number)
            else:
                damaged += 1
    return valid, damaged
