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

"""What the writers acknowledge, and the program that a guest gets."""

import json
import pathlib
import subprocess
import sys
import time
import typing

import fixtures

from tests.support.workload import archive
from tests.support.workload.inside import acks
from tests.support.workload.inside import writers
from tests.unit.support.workload import base


class AcksTestCase(base.WorkloadTestCase):

    def test_every_write_is_acknowledged(self) -> None:
        promise = self.promise()
        self.assertEqual(base.COUNT, promise.records)
        self.assertEqual(base.COUNT, promise.rows)

    def test_nothing_acknowledged(self) -> None:
        self.assertEqual(0, acks.count(self.state / 'none'))
        self.assertEqual(0, acks.longest_ms(self.state / 'none'))

    def test_failed_write_is_not_acknowledged(self) -> None:
        log = self.log('records')
        self.assertRaises(OSError, writers.write_records,
                          self.volume / 'none', log, base.RUN, 1, [0])
        self.assertEqual(0, acks.count(self.state / 'records'))

    def test_longest_since(self) -> None:
        log = self.log('records')
        log.add(time.monotonic_ns() - 5_000_000_000)
        mark = time.monotonic_ns()
        log.add(mark - 3_000_000_000)
        file = self.state / 'records'
        self.assertAlmostEqual(5000, acks.longest_ms(file), delta=500)
        self.assertAlmostEqual(3000, acks.longest_ms(file, mark), delta=500)


class PacedTestCase(base.WorkloadTestCase):

    def test_rate(self) -> None:
        began = time.monotonic()
        for number in writers.paced(100):
            if number == 10:
                break
        self.assertGreaterEqual(time.monotonic() - began, 0.1)

    def test_no_burst_after_a_stall(self) -> None:
        numbers = writers.paced(100)
        next(numbers)
        time.sleep(0.2)
        next(numbers)
        began = time.monotonic()
        next(numbers)
        next(numbers)
        self.assertGreaterEqual(time.monotonic() - began, 0.015)


class ArchiveTestCase(base.WorkloadTestCase):
    """The archive runs by itself, as it does in a guest."""

    def setUp(self) -> None:
        super().setUp()
        home = self.useFixture(fixtures.TempDir()).path
        self.program = pathlib.Path(home, 'workload.pyz')
        self.program.write_bytes(archive.build())

    def command(self, *argv: object) -> list[str]:
        # -I: nothing of this tree or its environment is in the path.
        return [sys.executable, '-I', str(self.program), *map(str, argv)]

    def answer(self, *argv: object) -> dict[str, typing.Any]:
        return json.loads(subprocess.check_output(self.command(*argv)))

    def test_writers_until_ended(self) -> None:
        volume = self.useFixture(fixtures.TempDir()).path
        where = ('--directory', volume, '--state', self.state, '--run', 'r')
        running = [
            subprocess.Popen(self.command(
                'records', '--files', 2, '--rate', 500, *where)),
            subprocess.Popen(self.command('rows', '--rate', 50, *where))]
        try:
            status = self._await_writes()
        finally:
            for process in running:
                process.terminate()
                process.wait()
        found = self.answer(
            'check', '--directory', volume, '--run', 'r', '--files', 2,
            '--records', status['records'], '--rows', status['rows'])
        self.assertEqual(0, found['records']['lost'])
        self.assertEqual(0, found['records']['out_of_order'])
        self.assertEqual(0, found['rows']['lost'])
        self.assertEqual('ok', found['rows']['integrity'])

    def test_bulk(self) -> None:
        subprocess.check_call(self.command(
            'bulk', '--directory', self.volume, '--mebibytes', 2))
        self.assertEqual(2 << 20, (self.volume / 'bulk').stat().st_size)

    def _await_writes(self) -> dict[str, typing.Any]:
        for name in ('records', 'rows'):
            (self.state / name).unlink()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            status = self.answer('status', '--state', self.state,
                                 '--since-ns', 0)
            if status['records'] and status['rows']:
                return status
        self.fail(f'nothing was acknowledged: {status}')
