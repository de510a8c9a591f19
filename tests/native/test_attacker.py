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

"""A user of the guest who exchanges what we look at; a guest at its limits."""

from collections.abc import Callable
import ctypes
import errno
import os
import pathlib
import threading
import time

import ddt

from cinder_wt_backup.guest.guardian.inside import protocol
from tests.support.loop import base

Status = protocol.Status
WINDOWS = 12                    # while things are exchanged
LONGEST_ROUND = 60              # seconds
GROUPS = pathlib.Path('/sys/fs/cgroup')


class Exchanging(threading.Thread):
    """Does something again and again, until told to stop."""

    def __init__(self, test: base.TestCase,
                 *steps: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._steps = steps
        self._stop_now = threading.Event()
        self.rounds = 0
        self.start()
        test.addCleanup(self.stop)

    def run(self) -> None:
        """Do it."""
        while not self._stop_now.is_set():
            for step in self._steps:
                step()
            self.rounds += 1

    def stop(self) -> None:
        """Stop, after a whole round."""
        self._stop_now.set()
        self.join(LONGEST_ROUND)
        if self.is_alive():
            raise AssertionError('what is exchanged hangs')


class ExchangeTest(base.TestCase):
    """Nothing of another file system's is touched, whatever is exchanged."""

    def setUp(self) -> None:
        super().setUp()
        self.volume_disk = self.disk('ext4')
        base.run('umount', str(self.point))
        self.other = base.Disk(self, 24)
        base.run('mkfs.ext4', '-q', self.other.device)
        self.seen_wrong: list[str] = []

    def look(self) -> None:
        """Note where the other one has the flag."""
        rows = pathlib.Path('/proc/self/mountinfo').read_text()
        for line in rows.splitlines():
            fields = line.split(' ')
            if (fields[fields.index('-') + 2] == self.other.device
                    and 'sync' in fields[-1].split(',')):
                self.seen_wrong.append(line)

    def windows(self) -> None:
        """Open and close some; each ends somehow, in time."""
        done = 0
        for _window in range(WINDOWS):
            started = self.start(self.volume_disk, limit=6)
            self.assertIn(started.status, (Status.DONE, Status.UNABLE))
            done += started.status == Status.DONE
            self.look()
            if started.status == Status.DONE:
                self.assertIn(self.command('release', limit=8).status,
                              (Status.DONE, Status.STUCK))
            self.wait_for(lambda: not self.holders())
            self.look()
        self.assertEqual([], self.seen_wrong)
        self.assertGreater(done, 0)

    def test_an_exchanged_parent_of_the_mount_point_flags_no_other(
            self) -> None:
        for name, disk in (('a', self.volume_disk), ('b', self.other)):
            (self.scratch / name / 'mnt').mkdir(parents=True)
            self.mount(disk.device, self.scratch / name / 'mnt')
        self.addCleanup(base.run, 'umount', '-l', self.other.device,
                        check=False)
        self.addCleanup(base.run, 'umount', '-l', self.volume_disk.device,
                        check=False)
        a, b, c = (str(self.scratch / name) for name in 'abc')
        exchanging = Exchanging(
            self, lambda: os.rename(a, c), lambda: os.rename(b, a),
            lambda: os.rename(c, b), self.look)
        self.windows()
        exchanging.stop()
        self.assertGreater(exchanging.rounds, 100)

    def test_a_parent_that_becomes_a_link_flags_no_other(self) -> None:
        for name, disk in (('a', self.volume_disk), ('b', self.other)):
            (self.scratch / name / 'mnt').mkdir(parents=True)
            self.mount(disk.device, self.scratch / name / 'mnt')
        self.addCleanup(base.run, 'umount', '-l', self.volume_disk.device,
                        check=False)
        a, c = str(self.scratch / 'a'), str(self.scratch / 'c')
        exchanging = Exchanging(
            self, lambda: os.rename(a, c), lambda: os.symlink('b', a),
            lambda: os.unlink(a), lambda: os.rename(c, a), self.look)
        self.windows()
        exchanging.stop()
        self.assertGreater(exchanging.rounds, 100)

    def test_an_exchanged_mount_flags_no_other(self) -> None:
        """The mount id and the path are the same each time."""
        def mounted(disk: base.Disk) -> None:
            if base.LIBC.mount(disk.device.encode(), os.fsencode(self.point),
                               b'ext4', 0, None):
                return                  # its last mount is being taken down
            time.sleep(0.003)
            self.look()
            while (base.LIBC.umount2(os.fsencode(self.point), 0)
                   and ctypes.get_errno() == errno.EBUSY):
                time.sleep(0.001)       # it is flushed just now

        exchanging = Exchanging(self, lambda: mounted(self.volume_disk),
                                lambda: mounted(self.other))
        self.windows()
        exchanging.stop()
        self.assertGreater(exchanging.rounds, 20)


@ddt.ddt
class LimitTest(base.TestCase):
    """Refused or done, never half; and nothing stays."""

    def setUp(self) -> None:
        super().setUp()
        self.volume_disk = self.disk('ext4')
        self.before = self.options()

    def window(self) -> base.Ended:
        """Start and release; see that it is as it was."""
        started = self.start(self.volume_disk, limit=6)
        changed = self.options() != self.before
        if started.status in protocol.UNCHANGED:
            self.assertFalse(changed)
        elif started.status == Status.DONE:
            self.assertEqual(changed, started.states == ['flagged'])
        self.through = ()
        self.assertIn(self.command('release', limit=8).status,
                      (Status.DONE, Status.LAPSED))
        self.assertEqual(self.before, self.options())
        self.wait_for(lambda: not self.holders())
        self.assertFalse((base.RECORD / 'journal').exists())
        return started

    def limited(self, controller: str, file: str, value: int) -> None:
        """Have the program in a control group with a limit."""
        group = GROUPS / controller / f'native-{os.getpid()}'
        if not (GROUPS / controller / 'tasks').exists():
            self.skipTest('no control groups of version 1')
        group.mkdir(exist_ok=True)
        self.addCleanup(self.wait_for, lambda: _removed(group))
        (group / file).write_text(f'{value}')
        self.through = ('sh', '-c', 'echo $$ >"$0"/tasks; exec "$@"',
                        str(group))

    @ddt.data(*range(1, 9))
    def test_few_processes_leave_nothing_half_done(self, number: int) -> None:
        self.limited('pids', 'pids.max', number)
        started = self.window()
        if number == 8:         # sh, the call, supervisor, worker, a look
            self.assertEqual(['flagged'], started.states, started.report)

    @ddt.data(4, 8, 12, 16, 20, 24, 32, 64)
    def test_little_memory_leaves_nothing_half_done(
            self, mebibytes: int) -> None:
        self.limited('memory', 'memory.limit_in_bytes', mebibytes << 20)
        started = self.window()
        if mebibytes == 64:
            self.assertEqual(['flagged'], started.states, started.report)

    @ddt.data(*range(8, 64, 4), 512)
    def test_few_addresses_leave_nothing_half_done(
            self, mebibytes: int) -> None:
        self.through = ('prlimit', f'--as={mebibytes << 20}')
        started = self.window()
        if mebibytes == 512:
            self.assertEqual(['flagged'], started.states, started.report)

    @ddt.data(4, 6, 8, 10, 12, 16, 24)
    def test_few_descriptors_leave_nothing_half_done(
            self, number: int) -> None:
        self.through = ('prlimit', f'--nofile={number}')
        started = self.window()
        if number == 24:
            self.assertEqual(['flagged'], started.states, started.report)


def _removed(group: pathlib.Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True
