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

"""The comparison must be able to fail: damage the database, and look."""

import contextlib
import dataclasses
import os
import sqlite3

from tests.support.workload.inside import database
from tests.unit.support.workload import base


CLEAN = database.Findings(required=base.COUNT, valid=base.COUNT, lost=0,
                          out_of_order=0, integrity='ok')


class CheckDatabaseTestCase(base.WorkloadTestCase):

    def check(self, required: int = base.COUNT, records: int = base.COUNT,
              ) -> database.Findings:
        return database.check(self.volume, base.RUN, required, records)

    def execute(self, statement: str) -> None:
        file = database.path(self.volume)
        with contextlib.closing(sqlite3.connect(file)) as connection:
            with connection:
                connection.execute(statement)

    def test_all_there(self) -> None:
        self.assertEqual(CLEAN, self.check())

    def test_default_modes(self) -> None:
        file = database.path(self.volume)
        with contextlib.closing(sqlite3.connect(file)) as connection:
            mode, = connection.execute('PRAGMA journal_mode').fetchone()
        self.assertEqual('delete', mode)

    def test_row_lost(self) -> None:
        self.execute('DELETE FROM entries WHERE id = 4')
        self.assertEqual(
            dataclasses.replace(CLEAN, valid=base.COUNT - 1, lost=1),
            self.check())

    def test_row_that_nobody_was_promised(self) -> None:
        last = base.COUNT - 1
        self.execute(f'DELETE FROM entries WHERE id = {last}')
        self.assertEqual(0, self.check(last).lost)

    def test_row_changed(self) -> None:
        self.execute("UPDATE entries SET body = 'X' WHERE id = 4")
        self.assertEqual(1, self.check().lost)

    def test_rows_without_the_records_before_them(self) -> None:
        found = self.check(records=base.COUNT - 1)
        self.assertEqual(base.COUNT, found.out_of_order)
        self.assertEqual(0, found.lost)

    def test_rows_of_another_run(self) -> None:
        found = database.check(self.volume, 'an earlier run', base.COUNT,
                               base.COUNT)
        self.assertEqual(base.COUNT, found.lost)

    def test_interrupted_transaction_is_rolled_back(self) -> None:
        self._leave_a_hot_journal()
        self.assertEqual(CLEAN, self.check())

    def test_database_cut_short(self) -> None:
        file = database.path(self.volume)
        os.truncate(file, file.stat().st_size // 2)
        found = self.check()
        self.assertNotEqual('ok', found.integrity)
        self.assertGreater(found.lost, 0)

    def test_page_of_zeroes(self) -> None:
        with open(database.path(self.volume), 'r+b') as file:
            file.seek(4096)
            file.write(bytes(4096))
        self.assertNotEqual('ok', self.check().integrity)

    def test_not_a_database(self) -> None:
        database.path(self.volume).write_bytes(bytes(8192))
        found = self.check()
        self.assertNotEqual('ok', found.integrity)
        self.assertEqual(base.COUNT, found.lost)

    def test_empty_file(self) -> None:
        database.path(self.volume).write_bytes(b'')
        found = self.check()
        self.assertNotEqual('ok', found.integrity)
        self.assertEqual(base.COUNT, found.lost)

    def test_no_database(self) -> None:
        database.path(self.volume).unlink()
        found = self.check()
        self.assertNotEqual('ok', found.integrity)
        self.assertEqual(base.COUNT, found.lost)

    def _leave_a_hot_journal(self) -> None:
        """Die in the middle of a transaction that has reached the file."""
        pid = os.fork()
        if pid:
            self.assertEqual(0, os.waitpid(pid, 0)[1])
            journal = database.path(self.volume).name + '-journal'
            self.assertTrue((self.volume / journal).exists())
            return
        connection = sqlite3.connect(database.path(self.volume))
        connection.execute('PRAGMA cache_size = 1')
        connection.execute("UPDATE entries SET body = body || 'X'")
        os._exit(0)
