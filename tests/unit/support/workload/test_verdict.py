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

"""The demo must be able to fail."""

import dataclasses

import ddt

from tests.support import bounded
from tests.support.workload.inside import checker
from tests.support.workload.inside import database
from tests.support.workload import verdict

RECORDS = checker.Findings(required=900, valid=1000, unbroken=1000, lost=0,
                           out_of_order=0, damaged=0)
ROWS = database.Findings(required=40, valid=41, lost=0, out_of_order=0,
                         integrity='ok')
CLEAN = verdict.Outcome(
    dirty_mib=300, records=RECORDS, rows=ROWS, stall_ms=120, changes=[],
    metadata={'wt:level': 'write-through', 'wt:window_ms': '4000'})
LOSSY = dataclasses.replace(
    CLEAN, metadata={}, records=dataclasses.replace(
        RECORDS, valid=0, unbroken=0, lost=900))


@ddt.ddt
class FaultsTestCase(bounded.TestCase):

    def assertFault(self, text: str, stock: verdict.Outcome,
                    plugin: verdict.Outcome) -> None:
        found = verdict.faults(stock, plugin)
        self.assertEqual(1, len(found))
        self.assertIn(text, found[0])

    def test_none(self) -> None:
        self.assertEqual([], verdict.faults(LOSSY, CLEAN))

    def test_frozen_on_top_is_fine_too(self) -> None:
        plugin = dataclasses.replace(CLEAN,
                                     metadata={'wt:level': 'filesystem'})
        self.assertEqual([], verdict.faults(LOSSY, plugin))

    @ddt.data(({'lost': 1}, 'lost 1 records'),
              ({'out_of_order': 2}, '2 records although'))
    @ddt.unpack
    def test_records(self, change: dict[str, int], text: str) -> None:
        plugin = dataclasses.replace(
            CLEAN, records=dataclasses.replace(RECORDS, **change))
        self.assertFault(text, LOSSY, plugin)

    @ddt.data(({'lost': 1}, 'lost 1 committed rows'),
              ({'out_of_order': 3}, '3 rows although'),
              ({'integrity': 'row 3 missing'}, 'damaged: row 3 missing'))
    @ddt.unpack
    def test_rows(self, change: dict[str, object], text: str) -> None:
        plugin = dataclasses.replace(
            CLEAN, rows=database.Findings(
                **dataclasses.asdict(ROWS) | change))
        self.assertFault(text, LOSSY, plugin)

    @ddt.data({}, {'wt:level': 'flushed'}, {'wt:level': 'crash'})
    def test_level(self, metadata: dict[str, str]) -> None:
        plugin = dataclasses.replace(CLEAN, metadata=metadata)
        self.assertFault('is at level', LOSSY, plugin)

    def test_reason_is_told(self) -> None:
        plugin = dataclasses.replace(CLEAN, metadata={
            'wt:level': 'crash', 'wt:reason': 'no agent'})
        self.assertFault('no agent', LOSSY, plugin)

    def test_guest_left_changed(self) -> None:
        plugin = dataclasses.replace(CLEAN, changes=['rw became ro'])
        self.assertFault('found: rw became ro', LOSSY, plugin)

    def test_stock_lost_nothing(self) -> None:
        self.assertFault('proves nothing', CLEAN, CLEAN)

    def test_less_dirty(self) -> None:
        plugin = dataclasses.replace(CLEAN, dirty_mib=30)
        self.assertFault('less dirty data', LOSSY, plugin)

    @ddt.data('records', 'rows')
    def test_nothing_required(self, part: str) -> None:
        findings = dataclasses.replace(getattr(CLEAN, part), required=0)
        plugin = dataclasses.replace(CLEAN, **{part: findings})
        self.assertFault('nothing had been written', LOSSY, plugin)


class TableTestCase(bounded.TestCase):

    def test_both_columns(self) -> None:
        text = verdict.table(LOSSY, CLEAN)
        self.assertIn('900 of 900', text)
        self.assertIn('0 of 900', text)
        self.assertIn('crash (claims nothing)', text)
        self.assertIn('write-through', text)
        self.assertIn('4000 ms', text)
