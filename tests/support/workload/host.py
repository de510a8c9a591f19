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

"""The host's side: deliver the workload to a guest, and drive it there."""

import dataclasses
import hashlib
import json
import time
import uuid

from tests.support.machines import guests
from tests.support.workload import archive
from tests.support.workload.inside import checker
from tests.support.workload.inside import database

_HOME = '/run/wt-workload'
_ARCHIVE = archive.build()
_PROGRAM = f'{_HOME}/{hashlib.sha256(_ARCHIVE).hexdigest()[:12]}'
# Where python3 is 3.6, as in Ubuntu 18.04, there is a newer one beside it.
_PYTHON = ('sh', '-c', 'exec "$(command -v python3.8 || command -v python3)" '
           '"$@"', 'python')
_FILES = 4
_PATIENCE = 120


@dataclasses.dataclass(frozen=True)
class Status:
    """What was acknowledged to the workload until now, and how fast.

    ``longest_since_ms`` is the longest write(2) that returned after the
    moment that was asked for; ``now_ns`` is such a moment, on the guest's
    own monotonic clock.
    """

    records: int
    rows: int
    now_ns: int
    longest_ms: float
    longest_since_ms: float


class Workload:
    """One run of the writers in one directory of one guest."""

    def __init__(self, guest: guests.Guest, directory: str) -> None:
        self._guest = guest
        self._directory = directory
        self._run = uuid.uuid4().hex
        self._state = f'{_HOME}/{self._run}'
        self._writers: dict[str, int] = {}

    def start(self, records_per_second: float = 200,
              rows_per_second: float = 5) -> None:
        """Start both writers, and see that both are writing."""
        self._guest.run('mkdir', '-p', self._state)
        _deliver(self._guest)
        self._spawn('records', records_per_second, '--files', str(_FILES))
        self._spawn('rows', rows_per_second)
        end = time.monotonic() + _PATIENCE
        while not ((status := self.status()).records and status.rows):
            if time.monotonic() > end:
                raise guests.GuestError(f'nothing gets written: {status}')

    def fill(self, mebibytes: int) -> None:
        """Leave that much dirty data in the guest's page cache."""
        _call(self._guest, 'bulk', '--directory', self._directory,
              '--mebibytes', str(mebibytes))

    def status(self, since_ns: int = 0) -> Status:
        """Say what is acknowledged now.

        :raises GuestError: a writer has ended by itself
        """
        for name in list(self._writers):
            if self._ended(name):
                raise guests.GuestError(f'{name}: the writer ended: '
                                        f'{self._errors(name)}')
        answer = _call(self._guest, 'status', '--state', self._state,
                       '--since-ns', str(since_ns))
        return Status(**json.loads(answer))

    def promise(self, status: Status) -> checker.Promise:
        """What a backup asked for after ``status`` has to have."""
        return checker.Promise(self._run, _FILES, status.records,
                               status.rows)

    def stop(self) -> None:
        """End the writers, and wait until they are gone."""
        for pid in self._writers.values():
            self._guest.run('kill', str(pid), check=False)
        end = time.monotonic() + _PATIENCE
        for name in list(self._writers):
            while not self._ended(name):
                if time.monotonic() > end:
                    raise guests.GuestError(f'{name} does not end')
                time.sleep(0.2)

    def _ended(self, name: str) -> bool:
        if self._runs(self._writers[name]):
            return False
        del self._writers[name]
        return True

    def _runs(self, pid: int) -> bool:
        try:
            return self._guest.result(pid) is None
        except guests.GuestError:
            # An agent that was started again does not know it.
            return not self._guest.run('test', '-d', f'/proc/{pid}',
                                       check=False).status

    def _errors(self, name: str) -> str:
        return self._guest.read(f'{self._state}/{name}.err').decode().strip()

    def _spawn(self, name: str, rate: float, *options: str) -> None:
        # The shell's text is fixed; everything else is an argument. In a scope
        # of its own it outlives the agent.
        self._writers[name] = self._guest.spawn(
            'systemd-run', '--quiet', '--scope',
            'sh', '-c', 'exec "$@" 2>"$0"', f'{self._state}/{name}.err',
            *_PYTHON, _PROGRAM, name, '--run', self._run,
            '--directory', self._directory, '--state', self._state,
            '--rate', str(rate), *options)


def check(guest: guests.Guest, directory: str, promise: checker.Promise,
          ) -> tuple[checker.Findings, database.Findings]:
    """Compare what is in a directory of a guest with what was promised."""
    _deliver(guest)
    found = json.loads(_call(
        guest, 'check', '--directory', directory, '--run', promise.run,
        '--files', str(promise.files), '--records', str(promise.records),
        '--rows', str(promise.rows)))
    return (checker.Findings(**found['records']),
            database.Findings(**found['rows']))


def missing(guest: guests.Guest, directory: str,
            promise: checker.Promise) -> str:
    """Return what a copy lacks of a promise; empty: nothing."""
    records, rows = check(guest, directory, promise)
    if (records.lost, records.out_of_order, rows.lost,
            rows.integrity) == (0, 0, 0, 'ok'):
        return ''
    return f'{records}, {rows}'


def _deliver(guest: guests.Guest) -> None:
    """Unpack the program, once for each boot, and have it compiled.

    Each start compiles what is in an archive; that takes an emulated guest
    longer than all else that a short command does.
    """
    if not guest.run('test', '-e', _PROGRAM, check=False).status:
        return
    guest.run('mkdir', '-p', _HOME)
    guest.put(f'{_PROGRAM}.zip', _ARCHIVE)
    guest.run(*_PYTHON, '-m', 'zipfile', '-e', f'{_PROGRAM}.zip',
              f'{_PROGRAM}.new')
    guest.run(*_PYTHON, '-m', 'compileall', '-q', f'{_PROGRAM}.new')
    guest.run('mv', f'{_PROGRAM}.new', _PROGRAM)


def _call(guest: guests.Guest, *argv: str) -> str:
    return guest.run(*_PYTHON, _PROGRAM, *argv, timeout=_PATIENCE).text
