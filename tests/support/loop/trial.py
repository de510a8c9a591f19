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

"""One window in which one call of the program in the guest goes wrong."""

from collections.abc import Callable
import contextlib
import dataclasses
import enum
import errno
import os
import pathlib
import signal
import subprocess
import threading
import time
import unittest

import fixtures

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest import deadline
from cinder_wt_backup.guest.guardian import client as guardian
from cinder_wt_backup.guest.guardian.inside import assemble
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import syscalls
from cinder_wt_backup.guest.guardian import report as reports
from cinder_wt_backup.window.methods import judgement
from tests.support.loop import base

FAULTS_TEXT = pathlib.Path(__file__).with_name('faults.py').read_text()
TIMEOUT, DRAIN, LEASE = 3, 1, 12
DISK_MIB, DIRTY_MIB, BLOCK = 48, 20, 4096
STUCK = 60                      # seconds that no window takes
OVERDUE = 4                     # seconds for a freeze of one
SETTLED = 30                    # seconds until it must be as it was
VM = pathlib.Path('/proc/sys/vm')
# The number of fspick(2), and one that no kernel knows.
NEW, OLD = b'FSPICK = 437, 431, 433', b'FSPICK = 437, 431, 999'


class Fault(enum.Enum):
    """What becomes of the one call."""

    FAILS = 'fails'
    HANGS = 'hangs'
    KILLED = 'killed'
    ALL_KILLED = 'all killed'


class Scenario(enum.Enum):
    """What kind of window it is."""

    FLAG = 'flag'               # much is dirty; as on Linux 6.0 and later
    OLD = 'old kernel'          # as before Linux 5.2, and so before 6.0
    BARRIER = 'barrier'         # frozen on top, and not thawed in time
    LEFT_OVER = 'left over'     # an earlier window was killed


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a fault strikes: a call, and the functions that lead to it."""

    scenario: Scenario
    call: str

    def __str__(self) -> str:
        return f'{self.scenario.value}: {self.call}'


class WrongError(Exception):
    """What a window claimed was not so, or it left something behind."""


class LocalAgent:
    """Runs programs on this machine, as an agent does in a guest."""

    instance = 'native'
    until = deadline.NEVER

    def __init__(self, prefix: bytes, old: bool = False) -> None:
        self._prefix, self._old = prefix, old
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, argv: tuple[str, ...], stdin: bytes, timeout: float,
            on_start: Callable[[], None]) -> agent.Exit:
        """Run it, with what lets it go wrong before its text."""
        program = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self._running.append(program)
        on_start()
        if self._old:
            assert NEW in stdin
            stdin = stdin.replace(NEW, OLD)
        try:
            output, _ = program.communicate(self._prefix + stdin, timeout)
        except subprocess.TimeoutExpired as error:
            raise exceptions.AgentError('it did not end in time') from error
        if program.returncode < 0:
            raise exceptions.AgentError('it ended by a signal')
        return agent.Exit(program.returncode, output.decode())

    def end(self) -> None:
        """Wait for what did not end in time."""
        for program in self._running:
            if program.poll() is None:
                program.wait(SETTLED)
            for pipe in (program.stdin, program.stdout):
                if pipe is not None:
                    pipe.close()


class Trial(base.TestCase):
    """A window with one fault; without a place, notes all places.

    :ivar outcome: what came of it, for a table
    :ivar wrong: why it is not as it should be; empty: it is
    :ivar reached: whether that call was made
    """

    def __init__(self, scenario: Scenario, call: str = '',
                 fault: Fault = Fault.FAILS) -> None:
        super().__init__('trial')
        self._scenario, self._call, self._fault = scenario, call, fault
        self.outcome = self.wrong = ''
        self.reached = False
        self.places: list[str] = []

    def trial(self) -> None:
        """Make the window, judge it, see that all is as it was."""
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.guest.guardian.client.SHORTEST', TIMEOUT))
        self._disk = base.Disk(self, DISK_MIB)
        base.run('mkfs.ext4', '-q', self._disk.device)
        self.point = self.scratch / 'mnt'
        self.mount(self._disk.device, self.point)
        self._before, self._thresholds = self.options(), _thresholds()
        self.addCleanup(self._put_back)
        if self._scenario == Scenario.LEFT_OVER:
            self._leave_a_window_over()
        self._obstacle = self.scratch / 'obstacle'
        self._obstacle.touch()
        self._agent = LocalAgent(self._prefix(),
                                 self._scenario == Scenario.OLD)
        # Else what stays frozen would hold this process for ever.
        thaw = threading.Timer(STUCK, base.run, (
            'fsfreeze', '-u', str(self.point)), {'check': False})
        thaw.start()
        self.addCleanup(thaw.cancel)
        began = time.monotonic()
        self._dirty = self._written('dirty', DIRTY_MIB << 8)
        claimed = self._window()
        self._settle()
        self.outcome = f'{claimed}, {self.outcome}'
        if time.monotonic() - began > STUCK:
            raise WrongError('it stayed frozen until it was thawed by hand')
        self.reached = (self.scratch / 'fired').exists()
        if not self._call:
            self.places = list(dict.fromkeys(
                (self.scratch / 'places').read_text().splitlines()))

    def _prefix(self) -> bytes:
        plan = {'parts': assemble.PARTS, 'place': self._call,
                'fault': self._fault.value, 'kernel': (
                    '4.15.0' if self._scenario == Scenario.OLD else ''),
                **{name: str(self.scratch / name) for name in (
                    'processes', 'places', 'fired', 'obstacle')}}
        return FAULTS_TEXT.replace(
            'PLAN = {}', f'PLAN = {plan!r}').encode()

    def _written(self, name: str, blocks: int) -> bytes:
        """Write a file, plainly; return what each block of it has."""
        block = os.urandom(32) * (BLOCK // 32)
        with open(self.point / name, 'wb', buffering=0) as file:
            for _block in range(blocks):
                file.write(block)
        return block

    def _guardian(self, token: str = '') -> guardian.Guardian:
        return guardian.Guardian(self._agent, token or self.token, TIMEOUT)

    def _leave_a_window_over(self) -> None:
        self._agent = LocalAgent(b'')
        self._guardian('feedbeef').start(self._wish())
        holders = self.holders()
        self.kill(holders, signal.SIGSTOP)
        self.kill(holders)
        self.wait_for(lambda: not self.holders())

    def _wish(self) -> guardian.StartRequest:
        barrier = self._scenario == Scenario.BARRIER
        return guardian.StartRequest(
            self._disk.volume, None, LEASE, DRAIN, int(barrier),
            guardian.BarrierWish.ALWAYS if barrier
            else guardian.BarrierWish.NEVER)

    # The window as a host makes it.

    def _window(self) -> str:
        """Make it, and see that its claim is true; return the claim."""
        try:
            start = self._guardian().start(self._wish())
        except (exceptions.GuardianUnable, exceptions.GuardianBusy) as error:
            return self._refused(error)
        except exceptions.WriteThroughError as error:
            with contextlib.suppress(exceptions.WriteThroughError):
                self._release()
            return f'not started ({type(error).__name__})'
        if base.HIDES:
            # This machine's first process can never be looked into.
            start = dataclasses.replace(
                start, remarks=start.remarks - {protocol.Remark.UNSEEN})
        return self._judged(start)

    def _refused(self, error: Exception) -> str:
        """See that nothing was changed, as was said.

        What an earlier window left over may be there still: it is on record.
        """
        if (self._scenario != Scenario.LEFT_OVER
                and self.options() != self._before):
            raise WrongError(f'said to be unchanged: {self.options()}')
        return f'refused ({type(error).__name__})'

    def _judged(self, start: reports.Start) -> str:
        written = self._written('written', 16)
        if start.armed:
            self._freeze_too_long()
        snapshot = self._disk.file.read_bytes()
        try:
            end = self._release()
        except exceptions.WriteThroughError as error:
            proof = judgement.flushed(start, type(error).__name__)
        else:
            if base.HIDES:
                end = dataclasses.replace(
                    end, remarks=end.remarks - {protocol.Remark.UNSEEN})
            proof = judgement.judge(start, end, judgement.Barrier())
        self._see_it_true(proof.level, snapshot, written)
        return (f'{proof.level.value} ({proof.reason})' if proof.reason
                else proof.level.value)

    def _freeze_too_long(self) -> None:
        """Freeze as an agent does; the guest must end it by itself."""
        base.run('fsfreeze', '-f', str(self.point))
        end = time.monotonic() + OVERDUE
        while _frozen(self.point) and time.monotonic() < end:
            time.sleep(0.05)
        if _frozen(self.point) and self._fault not in (Fault.HANGS,
                                                       Fault.ALL_KILLED):
            raise WrongError('a freeze that is overdue is not ended')
        # Where nobody is left to do it, its host does, before it releases.
        base.run('fsfreeze', '-u', str(self.point), check=False)

    def _see_it_true(self, level: claims.Level, snapshot: bytes,
                     written: bytes) -> None:
        needed = []
        if level >= claims.Level.FLUSHED:
            needed.append((self._dirty, DIRTY_MIB << 8))
        if level >= claims.Level.WRITE_THROUGH:
            needed.append((written, 16))
        for block, number in needed:
            if snapshot.count(block) < number:
                raise WrongError(f'{level.value} was claimed, but of {number} '
                                 f'blocks {snapshot.count(block)} are there')

    def _release(self) -> reports.End:
        """Release; what it says is done has to be."""
        try:
            end = self._guardian().release()
        except exceptions.GuardianLapsed:
            self._see_undone('lapsed')
            raise
        if not judgement.left_over(end):
            self._see_undone('released')
        return end

    def _see_undone(self, said: str) -> None:
        if self.options() != self._before:
            raise WrongError(f'said to be {said}, but it is {self.options()}')

    # Afterwards.

    def _settle(self) -> None:
        """Take the obstacle away; release until it is as it was."""
        began = time.monotonic()
        tries = 0
        self._obstacle.unlink()
        while not self._is_as_it_was():
            if time.monotonic() > began + SETTLED:
                raise WrongError(f'it stays {self._differs()}')
            tries += 1
            try:
                self._release()
            except exceptions.WriteThroughError:
                time.sleep(0.1)
        self._agent.end()
        self.outcome = (f'put back by {tries} more releases in '
                        f'{time.monotonic() - began:.1f} s' if tries
                        else 'put back')

    def _is_as_it_was(self) -> bool:
        return not self._differs()

    def _differs(self) -> str:
        if self.options() != self._before:
            return f'{self.options()}'
        if _frozen(self.point):
            return 'frozen'
        if _thresholds() != self._thresholds:
            return f'{_thresholds()}'
        left = base.RECORD / journal.JOURNAL
        if left.exists():
            return 'on record'
        return f'with {self.holders()}' if self.holders() else ''

    def _put_back(self) -> None:
        """Leave this machine as it was, whatever went wrong."""
        self.kill(self.holders())
        base.run('fsfreeze', '-u', str(self.point), check=False)
        now = _thresholds()
        for name, value in self._thresholds.items():
            if now[name] != value != '0':       # the other of a pair is
                (VM / name).write_text(value)


def _frozen(point: pathlib.Path) -> bool:
    """Whether it is frozen: then it cannot be once more."""
    descriptor = os.open(point, os.O_RDONLY)
    try:
        syscalls.freeze(descriptor)
        syscalls.thaw(descriptor)
    except OSError as error:
        return error.errno == errno.EBUSY
    finally:
        os.close(descriptor)
    return False


def _thresholds() -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in sorted(
        VM.glob('dirty*'))}


def attempt(place: Place, fault: Fault = Fault.FAILS) -> Trial:
    """Make one."""
    one = Trial(place.scenario, place.call, fault)
    result = unittest.TestResult()
    one.run(result)
    one.wrong = what_went_wrong(result)
    return one


def what_went_wrong(result: unittest.TestResult) -> str:
    """Return the last line of the last error; empty: none."""
    return ''.join(trace.strip().splitlines()[-1] for _test, trace
                   in (result.errors + result.failures)[-1:])


def places() -> list[Place]:
    """Return all places, each in the first kind of window that has it.

    :raises WrongError: a window without a fault did not go as it should
    """
    found: dict[str, Place] = {}
    for scenario in Scenario:
        one = attempt(Place(scenario, ''))
        if one.wrong:
            raise WrongError(f'{scenario.value}, without a fault: '
                             f'{one.wrong}')
        for call in one.places:
            found.setdefault(call, Place(scenario, call))
    return list(found.values())
