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

"""``make storm``: a user of the guest with more than can be looked at.

Processes, or mounts in namespaces of his own, tens of thousands of them,
while a window on a loop device of this machine is opened and released.
"""

import argparse
import pathlib
import subprocess
import sys
import unittest

from tests.support.loop import base
from tests.support.loop import trial

PID_MAX = pathlib.Path('/proc/sys/kernel/pid_max')
PER_NAMESPACE = 15000           # mounts; the kernel permits 100,000
MOUNTS = '''
import ctypes, os
c = ctypes.CDLL(None)
c.mount(b'none', b'/mnt', b'tmpfs', 0, None)
os.mkdir('/mnt/a')
for _ in range(%d):
    if c.mount(b'/mnt/a', b'/mnt/a', None, 4096, None):
        break
print('ready, ', flush=True)
input()
'''
PROCESSES = '''
import os, signal
started = []
try:
    for _ in range(%d):
        child = os.fork()
        if not child:
            signal.pause()
        started.append(child)
except OSError:
    pass
print('ready with', len(started), flush=True)
input()
for child in started:
    os.kill(child, signal.SIGKILL)
'''


class Storm(base.TestCase):
    """One window in it."""

    seconds = 1800

    def __init__(self, mounts: int, processes: int) -> None:
        super().__init__('window')
        self._numbers = mounts, processes
        self.told = ''

    def _user(self, program: str, *through: str) -> None:
        """Run a program as nobody until the test's end; wait for it."""
        user = subprocess.Popen(
            ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups',
             *through, '/usr/bin/python3', '-I', '-S', '-c', program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(user.communicate, '\n')
        assert user.stdout is not None
        ready = user.stdout.readline().strip()
        self.assertIn('ready', ready)
        self.told = ready

    def window(self) -> None:
        """Open it and release it."""
        mounts, processes = self._numbers
        # The machine needs some itself.
        processes = min(processes, int(PID_MAX.read_text()) - 3000)
        disk = self.disk('ext4')
        before = self.options()
        for first in range(0, mounts, PER_NAMESPACE):
            self._user(MOUNTS % min(PER_NAMESPACE, mounts - first),
                       'unshare', '-Urm')
        if processes:
            self._user(PROCESSES % processes)
        started = self.start(disk)
        ended = self.release()
        self.told += (
            f': {mounts} mounts, {processes} processes: start '
            f'{started.seconds:.1f} s, {started.states}, {started.remarks}, '
            f'release {ended.seconds:.1f} s, {ended.undone}')
        self.assertEqual((['flagged'], ['undone']),
                         (started.states, ended.undone))
        self.assertEqual(before, self.options())


def main() -> int:
    """Make each; the status says whether one went wrong."""
    parser = argparse.ArgumentParser(prog='make storm STORM=...',
                                     description=__doc__)
    parser.add_argument('--mounts', type=int, default=300000, metavar='N')
    parser.add_argument('--processes', type=int, default=65000, metavar='N')
    given = parser.parse_args()
    wrong = False
    for numbers in ((given.mounts, 0), (0, given.processes),
                    (given.mounts // 10, given.processes // 10)):
        one, result = Storm(*numbers), unittest.TestResult()
        one.run(result)
        print(one.told, trial.what_went_wrong(result), flush=True)
        wrong |= not result.wasSuccessful()
    return int(wrong)


if __name__ == '__main__':
    sys.exit(main())
