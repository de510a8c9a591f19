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

"""Who hangs, and dies at any moment (G4, G12, G23, G24)."""

import json
import os
import pathlib
import random
import signal
import subprocess
import time

import ddt

from cinder_wt_backup.guest.guardian.inside import protocol
from tests.support.loop import base

Status = protocol.Status
VALUES = {'sys/vm/dirty_background_bytes': '4096',
          'sys/vm/dirty_expire_centisecs': '3000',
          'sys/vm/dirty_writeback_centisecs': '500'}


@ddt.ddt
class HangingTest(base.TestCase):

    def test_a_release_undoes_for_a_hanging_worker_but_is_stuck(self) -> None:
        self.assertEqual(['flagged'], self.start(self.disk('ext4')).states)
        worker = self.holders()[1:]
        self.kill(worker, signal.SIGSTOP)
        ended = self.release()
        self.assertEqual((Status.STUCK, ['unknown']),
                         (ended.status, ended.undone))
        self.assertNotIn('sync', self.options())        # undone all the same
        self.kill(worker, signal.SIGCONT)
        self.wait_until_undone()

    def test_a_start_is_busy_until_the_last_worker_has_ended(self) -> None:
        disk = self.disk('ext4')
        self.start(disk)
        supervisor, worker = self.holders()
        self.kill([worker], signal.SIGSTOP)
        self.kill([supervisor])
        self.token = 'feedbeef'
        self.assertEqual(Status.BUSY, self.start(disk).status)
        self.kill([worker], signal.SIGCONT)
        self.wait_until_undone()
        self.assertEqual(['flagged'], self.start(disk).states)
        self.release()

    def test_a_release_undoes_for_a_worker_that_hangs_alone(self) -> None:
        self.start(self.disk('ext4'))
        supervisor, worker = self.holders()
        self.kill([worker], signal.SIGSTOP)
        self.kill([supervisor])
        self.assertEqual(Status.STUCK, self.release().status)
        self.assertNotIn('sync', self.options())
        self.kill([worker], signal.SIGCONT)
        self.wait_until_undone()
        self.assertEqual(Status.LAPSED, self.release().status)

    def test_a_pulse_does_not_end_a_freeze_of_somebody_else(self) -> None:
        disk = self.disk('ext4')
        self.start(disk)
        base.run('fsfreeze', '-f', str(self.point))
        from cinder_wt_backup.guest.guardian.inside import journal
        from cinder_wt_backup.guest.guardian.inside import pulse
        records = json.loads((base.RECORD / 'journal').read_text())[1][1]
        for _ in range(3):
            self.assertEqual('busy', pulse.Pulse(
                journal.Record(*records[0])).finish())
        base.run('fsfreeze', '-u', str(self.point))     # fails when thawed
        self.release()

    def test_a_pulse_killed_in_its_freeze_leaves_it_thawed(self) -> None:
        disk = self.disk('ext4')
        self.start(disk)
        from cinder_wt_backup.guest.guardian.inside import journal
        from cinder_wt_backup.guest.guardian.inside import pulse
        records = json.loads((base.RECORD / 'journal').read_text())[1][1]
        test, thaw = os.getpid(), pulse.syscalls.thaw
        self.addCleanup(setattr, pulse.syscalls, 'thaw', thaw)
        pulse.syscalls.thaw = lambda opened: (
            thaw(opened) if os.getpid() == test else os.kill(
                os.getpid(), signal.SIGKILL))
        self.assertEqual('failed', pulse.Pulse(
            journal.Record(*records[0])).finish())
        self.assertNotEqual(0, subprocess.run(
            ['fsfreeze', '-u', str(self.point)], check=False,
            stderr=subprocess.DEVNULL).returncode, 'it was frozen still')
        self.release()

    @ddt.data(*range(8))
    def test_a_release_undoes_after_a_kill_at_any_moment(
            self, seed: int) -> None:
        chance = random.Random(seed)    # noqa: S311
        disk = self.disk(chance.choice(['ext4', 'xfs', 'btrfs']))
        before = self.options()
        for _ in range(6):
            self._killed_after(disk, chance.uniform(0.02, 0.25))
            ended = self.release()
            self.assertIn(ended.status, (Status.LAPSED, Status.DONE),
                          (ended.report, ended.seconds))
            self.assertEqual(before, self.options())
            self.assertEqual([], self.holders())

    def _killed_after(self, disk: base.Disk, seconds: float) -> None:
        agent = self.begin_to_start(disk, drain=0, pulse='always')
        time.sleep(seconds)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for each in self.holders():
                try:
                    os.kill(each, number)
                except ProcessLookupError:
                    pass        # it ended by itself
        agent.kill()
        agent.wait(10)


class DrainTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.fakes = self.scratch / 'fakes'
        self.fakes.mkdir()
        values = {**VALUES, 'meminfo': 'Dirty: 20000 kB\nWriteback: 0 kB'}
        for path, value in values.items():
            fake = self.fakes / os.path.basename(path)
            fake.write_text(value + '\n')
            base.run('mount', '--bind', str(fake), f'/proc/{path}')
            self.addCleanup(base.run, 'umount', f'/proc/{path}')
        self.volume_disk = self.disk('ext4')

    def _value(self, name: str) -> int:
        return int((self.fakes / name).read_text().split()[0])

    def test_a_drain_leaves_thresholds_as_before(self) -> None:
        ended = self.start(self.volume_disk, drain=1)
        self.assertIn('late', ended.remarks)
        self.assertEqual(20000, ended.report['dirty_kb'])
        self.assertEqual(['undone'], self.release().undone)
        self.assertEqual(500, self._value('dirty_writeback_centisecs'))
        self.assertEqual(4096, self._value('dirty_background_bytes'))

    def _dies_while_draining(self, everybody: bool) -> None:
        agent = self.begin_to_start(self.volume_disk, drain=20, limit=30)
        self.wait_for(lambda: self._value('dirty_writeback_centisecs') == 10)
        holders = self.holders()
        self.kill(holders if everybody else holders[:1], signal.SIGSTOP)
        self.kill(holders if everybody else holders[:1])
        agent.wait(40)

    def test_workers_put_thresholds_back_without_the_supervisor(self) -> None:
        self._dies_while_draining(everybody=False)
        self.wait_for(lambda: self._value('dirty_writeback_centisecs') == 500)
        self.release()

    def test_a_release_puts_thresholds_back_after_all_are_killed(self) -> None:
        self._dies_while_draining(everybody=True)
        self.assertEqual(Status.LAPSED, self.command('release').status)
        self.assertEqual(500, self._value('dirty_writeback_centisecs'))

    def test_a_release_ends_a_drain(self) -> None:
        starting = pathlib.Path('/run/cinder-wt-backup/journal')
        agent = self.begin_to_start(self.volume_disk, drain=20, limit=30)
        self.wait_for(starting.exists)
        # Within its limit, which is far from the drain's end.
        self.assertEqual(Status.DONE,
                         self.command('release', limit=3).status)
        agent.wait(40)
        self.assertEqual(500, self._value('dirty_writeback_centisecs'))
