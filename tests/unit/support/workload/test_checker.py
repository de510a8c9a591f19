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

"""The comparison must be able to fail: damage the records, and look."""

import dataclasses
import os

from tests.support.workload.inside import checker
from tests.support.workload.inside import record
from tests.unit.support.workload import base


class CheckTestCase(base.WorkloadTestCase):

    def check(self, **changes: int) -> checker.Findings:
        promise = dataclasses.asdict(self.promise()) | changes
        return checker.check(self.volume, checker.Promise(**promise))

    def assertFound(self, found: checker.Findings, **expected: object,
                    ) -> None:
        actual = {name: getattr(found, name) for name in expected}
        self.assertEqual(expected, actual)

    def overwrite(self, number: int, data: bytes) -> None:
        index, slot = record.place(number, base.FILES)
        with open(record.path(self.volume, index), 'r+b') as file:
            file.seek(slot * record.SIZE)
            file.write(data)

    def truncate(self, number: int) -> None:
        """Cut the file of a record before it."""
        index, slot = record.place(number, base.FILES)
        os.truncate(record.path(self.volume, index), slot * record.SIZE)

    def test_all_there(self) -> None:
        self.assertEqual(
            checker.Findings(required=base.COUNT, valid=base.COUNT,
                             unbroken=base.COUNT, lost=0, out_of_order=0,
                             damaged=0),
            self.check())

    def test_more_than_promised(self) -> None:
        self.assertFound(self.check(records=5), valid=base.COUNT, lost=0,
                         out_of_order=0)

    def test_last_record_lost(self) -> None:
        self.truncate(base.COUNT - 1)
        self.assertFound(self.check(), lost=1, unbroken=base.COUNT - 1,
                         out_of_order=0, damaged=0)

    def test_unacknowledged_record_missing(self) -> None:
        self.truncate(base.COUNT - 1)
        self.assertFound(self.check(records=base.COUNT - 1), lost=0,
                         out_of_order=0)

    def test_record_corrupt(self) -> None:
        self.overwrite(7, b'X')
        self.assertFound(self.check(), lost=1, unbroken=7, damaged=1)

    def test_record_of_zeroes(self) -> None:
        self.overwrite(7, bytes(record.SIZE))
        self.assertFound(self.check(), lost=1, unbroken=7, damaged=1)

    def test_last_byte_torn(self) -> None:
        good = record.Codec(base.RUN).encode(7)
        self.overwrite(7, good[:-1] + bytes([good[-1] ^ 1]))
        self.assertFound(self.check(), lost=1, unbroken=7, damaged=1)

    def test_torn_record_that_nobody_was_promised(self) -> None:
        last = base.COUNT - 1
        self.overwrite(last, b'X')
        self.assertFound(self.check(records=last), lost=0, out_of_order=0,
                         damaged=1)

    def test_out_of_order_across_files(self) -> None:
        # Files 1 and 2 went on after file 0 stopped at record 15: the
        # records 16, 17 and 19 are there without 15 and 18.
        self.truncate(15)
        self.assertFound(self.check(), lost=2, unbroken=15,
                         out_of_order=3)

    def test_out_of_order_after_the_promise(self) -> None:
        self.truncate(15)
        self.assertFound(self.check(records=15), lost=0, out_of_order=3)

    def test_records_exchanged(self) -> None:
        codec = record.Codec(base.RUN)
        self.overwrite(6, codec.encode(9))
        self.overwrite(9, codec.encode(6))
        self.assertFound(self.check(), lost=2, unbroken=6, damaged=2)

    def test_records_of_another_run(self) -> None:
        self.overwrite(7, record.Codec('an earlier run').encode(7))
        self.assertFound(self.check(), lost=1, unbroken=7, damaged=1)

    def test_short_slot_at_the_end(self) -> None:
        index, slot = record.place(base.COUNT - 1, base.FILES)
        os.truncate(record.path(self.volume, index),
                    slot * record.SIZE + 512)
        self.assertFound(self.check(), lost=1, damaged=1)

    def test_file_missing(self) -> None:
        record.path(self.volume, 0).unlink()
        self.assertFound(self.check(), valid=13, lost=7, unbroken=0,
                         out_of_order=13)

    def test_nothing_there(self) -> None:
        for index in range(base.FILES):
            record.path(self.volume, index).unlink()
        self.assertFound(self.check(), valid=0, lost=base.COUNT,
                         out_of_order=0)
