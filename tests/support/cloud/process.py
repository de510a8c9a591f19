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

"""A daemon of the cloud: one process, one pid file, one log."""

from collections.abc import Mapping, Sequence
import contextlib
import os
import pathlib
import signal
import subprocess
import time

from tests.support.cloud import console
from tests.support.cloud import layout

# A daemon gets nothing of the caller's environment: a proxy, a locale or an
# OS_* variable there would change what the cloud does.
_PATH = '{}:{}/bin:/usr/sbin:/usr/bin:/sbin:/bin'
ENVIRONMENT = {
    'PATH': _PATH.format(layout.BIN, layout.VENV),
    'HOME': str(layout.DATA),
    'LANG': 'C.UTF-8',
    'PYTHONWARNINGS': 'ignore',
    'CEPH_CONF': str(layout.CEPH_CONF),
}
# Cinder's helpers are of Cinder's own release.
CINDER = {'PATH': _PATH.format(layout.BIN, layout.CINDER_VENV)}


class Daemon:
    """A process that outlives the program that started it.

    :param mark: is in the command line for as long as the process lives;
        by default the program's name.
    """

    def __init__(self, name: str, argv: Sequence[str | pathlib.Path],
                 env: Mapping[str, str] | None = None, mark: str = '',
                 patience: float = 15) -> None:
        self.name = name
        self.argv = [str(arg) for arg in argv]
        self.env = ENVIRONMENT | dict(env or {})
        self.log = layout.log_file(name)
        self.patience = patience
        self._mark = mark or pathlib.Path(self.argv[0]).name
        self._pid_file = layout.RUN / f'{name}.pid'
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        try:
            pid, born = map(int, self._pid_file.read_text().split())
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._is_ours(pid, born) else None

    @property
    def started(self) -> float:
        """When it was started last, in seconds since the epoch."""
        return self._pid_file.stat().st_mtime

    def start(self) -> None:
        """Start it, with its output appended to its log."""
        if self.pid:
            return
        with self.log.open('a') as out:
            print('+', *self.argv, file=out, flush=True)
            self._child = subprocess.Popen(
                self.argv, env=self.env, cwd=layout.DATA, stdout=out,
                stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                start_new_session=True)
        pid = self._child.pid
        self._pid_file.write_text(f'{pid} {_stat(pid)[1]}\n')

    def stop(self, number: int = signal.SIGTERM) -> bool:
        """End it; with SIGKILL what still lives after its patience.

        As systemd does, what it leaves behind as well: a parent that dies with
        the lock of oslo.log's pipe in its hand leaves workers that hang.

        :returns: whether it was running.
        """
        pid = self.pid
        if pid is None:
            self._pid_file.unlink(missing_ok=True)
            return False
        os.kill(pid, number)
        end = time.monotonic() + self.patience
        while self.pid and time.monotonic() < end:
            time.sleep(0.05)
        if self.pid:
            console.say(f'{self.name} does not end by itself: killed')
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        if self.pid:
            console.wait_for(f'the end of {self.name}',
                             lambda: not self.pid, self.patience)
        self._pid_file.unlink(missing_ok=True)
        return True

    def _is_ours(self, pid: int, born: int) -> bool:
        # Another process can have this pid by now.
        if self._child is not None:
            self._child.poll()
        try:
            state, since = _stat(pid)
            command = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False
        # The command line is empty for a moment while a program begins.
        return (state != 'Z' and since == born
                and (not command or os.fsencode(self._mark) in command))


def _stat(pid: int) -> tuple[str, int]:
    """The state of a process, and its start in clock ticks since boot."""
    text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    fields = text.rpartition(')')[2].split()
    return fields[0], int(fields[19])
