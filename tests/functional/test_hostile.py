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

"""A hostile guest behind a real libvirt.

In the real agent's place runs fake_agent.py, which says how it misbehaves.
"""

from collections.abc import Iterator
import contextlib
import json
import pathlib
import resource
import time
from typing import Any

import ddt

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.guest.guardian import client as guardian
from tests.functional import base
from tests.functional import fake_agent
from tests.support.machines import guests
from tests.support.machines import machine

Level = claims.Level
PROGRAM = pathlib.Path(fake_agent.__file__)
# By itself the real agent is back after so many seconds.
PATIENCE = 240
START = f"""
rm -f /run/pwned
systemd-run -q sh -c 'sleep 0.5; systemctl stop qemu-guest-agent; \
    python3 /run/fake_agent.py {PATIENCE} %s; \
    systemctl start qemu-guest-agent'
"""
OPTIONS = {'agent_timeout': 2, 'drain_timeout': 1, 'window_timeout': 5,
           'lock_timeout': 3, 'freeze_timeout': 3, 'lease': 60}
# A window's longest is the sum of its limits, and libvirt's own 5 s for each
# message; and what it may need of memory.
SECONDS, MEMORY = 60, 64 << 10
# What libvirt does not get over until the port is opened anew; seconds.
BREAKS = {'garbage': 4, 'no utf-8': 4, 'binary error': 4, 'nested': 4,
          'trickle': 4, 'mute': 4, 'silent': 8, 'other id': 8, '12 MiB': 12}


def told(host: machine.Machine, command: str, **arguments: Any) -> Any:
    """Tell the fake agent something, as soon as it listens."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return host.guest.command(command, **arguments)
        except guests.GuestError:
            if time.monotonic() > end:
                raise
        time.sleep(0.3)


@contextlib.contextmanager
def hostile(host: machine.Machine, disk: machine.Disk) -> Iterator[None]:
    """Have the fake agent answer for the guest."""
    host.guest.put('/run/fake_agent.py', PROGRAM.read_bytes())
    host.shell(START % disk.volume)
    try:
        told(host, 'be', mode='mute', **{'for': 1})
        yield
    finally:
        told(host, 'end')
        time.sleep(1)
        host.guest.wait()


@ddt.ddt
class HostileAgent(base.TestCase):
    """Every window ends, small and soon, with no more than is true."""

    disk: machine.Disk

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        host = base.shared_machine()
        cls.disk = host.add_disk()
        cls.addClassCleanup(host.detach, cls.disk)
        cls.enterClassContext(hostile(host, cls.disk))

    def misbehaved(self, mode: str, **values: Any) -> claims.Claim:
        """Return what a window comes to with such an agent."""
        told(self.machine, 'be', mode=mode,
             **{'for': BREAKS.get(mode, PATIENCE)})
        began, memory = time.monotonic(), _memory()
        with self.window(self.disk, **(OPTIONS | values)) as verdict:
            pass
        self.assertLess(time.monotonic() - began, SECONDS)
        self.assertLess(_memory() - memory, MEMORY)
        self.assertTrue(verdict[0].reason.isprintable(), verdict)
        self.assertNotIn('unexpected error', verdict[0].reason)
        return verdict[0]

    def heard(self) -> list[Any]:
        """Return what the agent was told, and see that it is all ours."""
        requests: list[Any] = told(self.machine, 'heard')
        for request in requests:
            if request['execute'] == fake_agent.EXEC:
                arguments = request['arguments']
                self.assertEqual(('/bin/sh', ['-c', guardian.BOOT]),
                                 (arguments['path'], arguments['arg'][:2]))
                self.assertNotIn('pwned', json.dumps(arguments))
        return requests

    @ddt.data('types', 'pid', 'number', 'error', 'nested', 'endless program',
              'busy program', 'false report', 'long report',
              'counts too many', 'counts below none', 'counts falsely',
              "another's device")
    def test_an_agent_that_answers_falsely_is_crash_consistent(
            self, mode: str) -> None:
        proof = self.misbehaved(mode)
        self.assertIs(Level.CRASH, proof.level, proof)
        if mode not in BREAKS:
            self.heard()

    @ddt.data('garbage', 'no utf-8', 'binary error', 'trickle', 'mute',
              'silent', 'other id')
    def test_an_agent_that_does_not_answer_is_the_reason(
            self, mode: str) -> None:
        proof = self.misbehaved(mode)
        self.assertIs(Level.CRASH, proof.level, proof)
        self.assertIn('guest agent', proof.reason)

    @ddt.data('2 MiB', '6 MiB', '12 MiB')
    def test_an_agent_that_answers_too_much_is_the_reason(
            self, mode: str) -> None:
        proof = self.misbehaved(mode, agent_timeout=10)
        self.assertIs(Level.CRASH, proof.level, proof)
        self.assertIn('guest agent', proof.reason)

    def test_mount_points_reach_the_freeze_as_text(self) -> None:
        proof = self.misbehaved('mount points')
        self.assertIs(Level.CRASH, proof.level, proof)
        asked = self.frozen()
        self.assertEqual(list(fake_agent.POINTS[:5]), asked[:5])
        self.assertNotIn('/other', asked)

    def test_mount_points_of_a_report_reach_the_freeze_as_text(self) -> None:
        proof = self.misbehaved('report of points', barrier='freeze')
        # Its word is all that there is; the freeze was none.
        self.assertIs(Level.WRITE_THROUGH, proof.level, proof)
        self.assertEqual(['/;touch$IFS/run/pwned', '/-o bind\n', '/\x1b[2J'],
                         self.frozen())

    def frozen(self) -> list[str]:
        """Return the mount points that it was asked to freeze."""
        points: list[str] = next(
            request['arguments']['mountpoints'] for request in self.heard()
            if request['execute'] == fake_agent.FREEZE)
        return points


class Afterwards(base.TestCase):
    """Nothing of it lasts."""

    def test_nothing_lasts_once_the_real_agent_is_back(self) -> None:
        disk = self.volume()
        self.mount(disk.name, 'mkfs.ext4 -q')
        before = self.machine.guest.state()
        with hostile(self.machine, disk):
            told(self.machine, 'be', mode='pid', **{'for': PATIENCE})
            with self.window(disk, **OPTIONS) as verdict:
                pass
        self.assertIs(Level.CRASH, verdict[0].level, verdict)
        with self.window(disk) as verdict:
            pass
        self.assertIs(Level.WRITE_THROUGH, verdict[0].level, verdict)
        self.unchanged_by(before)
        for run in (self.machine.shell('ls /run'),
                    '\n'.join(map(str, pathlib.Path('/run').iterdir()))):
            self.assertNotIn('pwned', run)


def _memory() -> int:
    """Return the most that this process has had, KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
