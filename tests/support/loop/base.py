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

"""Whole windows on loop devices, in a mount namespace of these tests.

As root, natively: nothing of the machine's own is touched. Processes and loop
devices that a test makes are ended and detached by it.
"""

import ctypes
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from typing import Any
import uuid

from cinder_wt_backup.guest.guardian.inside import assemble
from cinder_wt_backup.guest.guardian.inside import protocol
from tests.support import bounded

CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE, MS_BIND = 0x4000, 1 << 18, 0x1000
RECORD = pathlib.Path('/run/cinder-wt-backup')
SIZES = {'xfs': 320, 'btrfs': 128}
LIBC = ctypes.CDLL(None, use_errno=True)
PROGRAM = assemble.program()
_APART: set[int] = set()


def run(*command: str, check: bool = True) -> str:
    """Run a program; return what it printed."""
    return subprocess.run(command, check=check, text=True,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT).stdout.strip()


def _hides() -> bool:
    """Whether this machine's first process cannot be looked into."""
    try:
        return not os.readlink('/proc/1/ns/mnt')
    except PermissionError:
        return True


HIDES = _hides()


def _namespace_of_our_own() -> None:
    """Leave the machine's mount namespace, once for this process."""
    if os.getpid() in _APART:
        return
    _APART.add(os.getpid())
    for result in (LIBC.unshare(CLONE_NEWNS),
                   LIBC.mount(b'none', b'/', None, MS_REC | MS_PRIVATE,
                              None)):
        if result:
            raise OSError(ctypes.get_errno(), 'no namespace of our own')


class Disk:
    """A loop device that shows a serial, as a volume's disk does."""

    def __init__(self, test: 'TestCase', megabytes: int) -> None:
        self.volume = str(uuid.uuid4())
        self.file = test.scratch / f'{self.volume}.img'
        with open(self.file, 'wb') as file:
            file.truncate(megabytes << 20)
        self.device = run('losetup', '-f', '--show', str(self.file))
        self.name = os.path.basename(self.device)
        test.addCleanup(run, 'losetup', '-d', self.device, check=False)
        self._show_serial(test)

    def _show_serial(self, test: 'TestCase') -> None:
        folder = f'/sys/devices/virtual/block/{self.name}'
        number = pathlib.Path(folder, 'dev').read_text()
        run('mount', '-t', 'tmpfs', 'none', folder)
        test.addCleanup(run, 'umount', folder)
        pathlib.Path(folder, 'dev').write_text(number)
        pathlib.Path(folder, 'serial').write_text(self.volume[:20])
        for empty in ('holders', 'slaves'):
            pathlib.Path(folder, empty).mkdir()


class Ended:
    """What a command said.

    :ivar report: as it was printed
    """

    def __init__(self, status: int, output: bytes, seconds: float) -> None:
        self.status, self.seconds = status, seconds
        self.report: dict[str, Any] = json.loads(output) if output else {}

    @property
    def states(self) -> list[str]:
        """Return the states of the file systems."""
        return [each['state'] for each in self.report['filesystems']]

    @property
    def remarks(self) -> list[str]:
        """Return the remarks; where PID 1 hides, nothing is seen whole."""
        hides = {'unseen'} if HIDES else set()
        return sorted(set(self.report['remarks']) - hides)

    @property
    def mounted(self) -> list[list[str]]:
        """Return device and type of what is mounted."""
        return [each[:2] for each in self.report['mounts']]

    @property
    def undone(self) -> list[str]:
        """Return what became of them."""
        return [each['undo'] for each in self.report['filesystems']]


class TestCase(bounded.TestCase):
    """A test with a ``/run`` and a folder of its own."""

    program = PROGRAM
    # What the agent's programs are started through, as limits are.
    through: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        if os.getuid():
            self.skipTest('not root')
        _namespace_of_our_own()
        self._be_alone()
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix='native-'))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.mount_tmpfs('/run')
        self.mount_tmpfs(str(self.scratch))
        self.token = uuid.uuid4().hex

    def _be_alone(self) -> None:
        """Wait for others: the thresholds are the whole machine's."""
        descriptor = os.open('/proc/sys/vm/dirty_bytes',
                             os.O_RDONLY | os.O_CLOEXEC)
        self.addCleanup(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def mount_tmpfs(self, path: str, options: str = 'mode=755') -> None:
        """Mount a tmpfs until the test's end."""
        run('mount', '-t', 'tmpfs', '-o', options, 'none', path)
        self.addCleanup(run, 'umount', '-l', path)

    def disk(self, kind: str, options: str = '', make: str = '') -> Disk:
        """Return a disk with a file system that is mounted at ``point``."""
        disk = Disk(self, SIZES.get(kind, 24))
        quiet = ['-q'] if kind != 'xfs' else ['-q']
        run(f'mkfs.{kind}', *quiet, *make.split(), disk.device)
        self.point = self.scratch / 'mnt'
        self.mount(disk.device, self.point, options)
        return disk

    def mount(self, device: str, point: pathlib.Path, options: str = ''
              ) -> None:
        """Mount until the test's end."""
        point.mkdir(exist_ok=True)
        run('mount', *(['-o', options] if options else []), device,
            str(point))
        self.addCleanup(run, 'umount', '-l', str(point), check=False)

    def command(self, name: str, **fields: Any) -> Ended:
        """Run a command of the program as an agent does."""
        started = time.monotonic()
        ended = subprocess.run(
            self._argv(name, fields), input=self.program, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.addDetail(f'{name}-errors', _text(ended.stderr))
        return Ended(ended.returncode, ended.stdout,
                     time.monotonic() - started)

    def _argv(self, name: str, fields: dict[str, Any]) -> list[str]:
        request = {'version': protocol.VERSION, 'token': self.token,
                   'limit': 10, **fields}
        return [*self.through, '/bin/sh', '-c', assemble.boot(), 'guardian',
                name, json.dumps(request)]

    def start(self, disk: Disk, **fields: Any) -> Ended:
        """Start a window; it is released at the test's end."""
        self.addCleanup(self._leave_nothing)
        return self.command('start', **self._window(disk, fields))

    def begin_to_start(self, disk: Disk, **fields: Any
                       ) -> subprocess.Popen[bytes]:
        """Let a window start; its agent's program ends with the test."""
        self.addCleanup(self._leave_nothing)
        agent = subprocess.Popen(
            self._argv('start', self._window(disk, fields)),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.addCleanup(agent.wait, 60)
        self.addCleanup(agent.kill)
        assert agent.stdin is not None
        with agent.stdin as given:
            given.write(self.program)
        return agent

    def _window(self, disk: Disk, fields: dict[str, Any]) -> dict[str, Any]:
        return {'volume': disk.volume, 'address': '', 'lease': 60, 'drain': 5,
                'freeze': 0, 'barrier': 'never', 'pulse': 'never', **fields}

    def release(self) -> Ended:
        """Release it."""
        return self.command('release')

    def _leave_nothing(self) -> None:
        trouble = RECORD / 'trouble'
        if trouble.exists():
            self.addDetail('trouble', _text(trouble.read_bytes()))
            self.fail('the supervisor had trouble')
        if (RECORD / 'journal').exists():
            self.command('release')

    def holders(self) -> list[int]:
        """Return the window's processes, the supervisor first."""
        found = []
        for process in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                links = [os.readlink(each)
                         for each in (process / 'fd').iterdir()]
                if f'{RECORD}/claim' in links and _same_run(process):
                    number = int(process.name)
                    found.append((os.getsid(number) != number, number))
            except OSError:
                continue        # it has ended
        return [number for _, number in sorted(found)]

    def kill(self, processes: list[int],
             number: int = signal.SIGKILL) -> None:
        """End processes of the window."""
        for process in processes:
            os.kill(process, number)

    def wait_until_undone(self) -> None:
        """Wait until no flag is left and nobody holds the lock."""
        self.wait_for(lambda: 'sync' not in self.options())
        self.wait_for(lambda: not self.holders())

    def options(self, point: pathlib.Path | None = None) -> list[str]:
        """Return the options of the superblock at a mount point."""
        for line in reversed(pathlib.Path(
                '/proc/self/mountinfo').read_text().splitlines()):
            fields = line.split(' ')
            if fields[4] == str(point or self.point):
                return fields[-1].split(',')
        raise AssertionError('not mounted')

    def wait_for(self, condition: Any, seconds: float = 30) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, 'it did not come to be')
            time.sleep(0.02)


def _same_run(process: pathlib.Path) -> bool:
    """Whether a process sees our ``/run``, not that of other tests."""
    return os.readlink(process / 'ns/mnt') == os.readlink('/proc/self/ns/mnt')


def _text(output: bytes) -> Any:
    from testtools import content
    return content.text_content(output.decode('utf-8', 'replace'))
