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


"""What state a guest may be in while its volume is backed up.

Each is entered before the window is opened and left after it was closed.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import pathlib
import time

import libvirt

from tests.support.cloud import console
from tests.support.cloud import layout
from tests.support.machines import guests
from tests.support.machines import live_machine
from tests.support.machines import second_host
from tests.support.matrix import cases
from tests.support.matrix import old_agent

# Longer than an answer of the agent is waited for, and than a window takes.
SILENCE = 30
BLOCKED_FOR = 40
_OLD_AGENT = pathlib.Path(old_agent.__file__)
# What none of QEMU 2.x knows, and what came with 2.5 (guest-exec).
_NEWER = 'guest-get-disks'
_NO_EXEC = 'guest-exec', 'guest-exec-status'
Machine = live_machine.LiveMachine


@dataclasses.dataclass(frozen=True)
class During:
    """What is known of a guest in a state.

    :ivar uris: the hosts that may run it
    :ivar act: what happens while the window is open
    """

    uris: tuple[str, ...] = (layout.LIBVIRT_TCP_URI,)
    act: Callable[[], None] = lambda: None


Entered = Iterator[During]


def _as_is(_machine: Machine) -> Entered:
    yield During()


def _paused(machine: Machine) -> Entered:
    machine.suspend()
    try:
        yield During()
    finally:
        machine.resume()


def _suspended(machine: Machine) -> Entered:
    machine.define()
    try:
        machine.save()
        try:
            yield During()
        finally:
            machine.start()
    finally:
        machine.undefine()


@contextlib.contextmanager
def _persistent(machine: Machine) -> Iterator[None]:
    """Have it start again afterwards, whatever became of it."""
    machine.define()
    try:
        yield
    finally:
        machine.shut_off()
        machine.start()
        machine.undefine()


def _shut_off(machine: Machine) -> Entered:
    with _persistent(machine):
        machine.shut_off()
        yield During()
        # _persistent turns off what runs.
        machine.start()


def _crashed(machine: Machine) -> Entered:
    with _persistent(machine):
        _later(machine, 'echo c >/proc/sysrq-trigger')
        console.wait_for('a kernel panic', lambda: machine.state()
                         == libvirt.VIR_DOMAIN_CRASHED, 60)
        yield During()


def _booting(machine: Machine) -> Entered:
    machine.reset()
    yield During()
    machine.guest.wait()


def _without_channel(machine: Machine) -> Entered:
    channel = machine.detach_device('channel')
    try:
        yield During()
        # systemd starts the agent again once it has seen it end.
        time.sleep(5)
    finally:
        machine.attach_device(channel)
        machine.guest.wait()


def _without_agent(machine: Machine) -> Entered:
    _later(machine, f'systemctl stop qemu-guest-agent; sleep {SILENCE}; '
                    f'systemctl start qemu-guest-agent')
    _await_silence(machine)
    yield During()
    machine.guest.wait()


def _silent(machine: Machine) -> Entered:
    _later(machine, f'a=$(pidof qemu-ga); kill -STOP $a; '
                    f'{guests.until_key(SILENCE)}; kill -CONT $a')
    time.sleep(2)
    yield During()
    machine.guest.press_key()
    machine.guest.wait()


def _without_exec(machine: Machine) -> Entered:
    machine.shell(guests.block_exec(BLOCKED_FOR))
    _await(machine, 'guest-exec', False)
    yield During()
    machine.guest.press_key()
    _await(machine, 'guest-exec', True)


def _old(*unknown: str) -> Callable[[Machine], Entered]:
    """Return a state: an agent that does not know some commands."""
    def state(machine: Machine) -> Entered:
        machine.guest.put('/run/old_agent.py', _OLD_AGENT.read_bytes())
        _later(machine, f'systemctl stop qemu-guest-agent; python3 /run/'
               f'old_agent.py {BLOCKED_FOR} {_NEWER} {" ".join(unknown)}; '
               f'systemctl start qemu-guest-agent')
        _await(machine, _NEWER, False)
        yield During()
        _await(machine, _NEWER, True)
    return state


def _frozen_by_a_host(machine: Machine) -> Entered:
    machine.guest.command('guest-fsfreeze-freeze-list',
                          mountpoints=[cases.POINT])
    try:
        yield During()
    finally:
        machine.guest.command('guest-fsfreeze-thaw')


def _frozen_by_its_admin(machine: Machine) -> Entered:
    machine.shell(f'fsfreeze -f {cases.POINT}')
    try:
        yield During()
    finally:
        # Fails if somebody thawed it.
        machine.shell(f'fsfreeze -u {cases.POINT}')


def _migrating(machine: Machine) -> Entered:
    with second_host.SecondHost() as other:
        yield During((layout.LIBVIRT_TCP_URI, other.uri),
                     lambda: machine.migrate(other.uri))
        machine.migrate(layout.LIBVIRT_TCP_URI)


def _later(machine: Machine, script: str) -> None:
    """Run what the agent would not survive to answer for."""
    machine.shell(f"systemd-run -q sh -c 'sleep 1; {script}'")


def _await_silence(machine: Machine) -> None:
    def gone() -> bool:
        try:
            machine.guest.command('guest-ping')
        except guests.GuestError:
            return True
        return False
    console.wait_for('the end of the guest agent', gone, 60)


def _await(machine: Machine, command: str, permitted: bool) -> None:
    console.wait_for(
        f'{command} to be {"permitted" if permitted else "blocked"}',
        lambda: machine.guest.permits(command) == permitted,
        2 * BLOCKED_FOR, failed=(guests.GuestError,))


# By the name that cases give.
STATES = {name: contextlib.contextmanager(state) for name, state in {
    '': _as_is,
    'paused': _paused,
    'suspended': _suspended,
    'shut off': _shut_off,
    'crashed': _crashed,
    'booting': _booting,
    'without channel': _without_channel,
    'without agent': _without_agent,
    'silent': _silent,
    'without exec': _without_exec,
    'an agent of QEMU 2.12': _old(),
    'an agent of QEMU 2.4': _old(*_NO_EXEC),
    'an agent of QEMU 2.1': _old(*_NO_EXEC, 'guest-fsfreeze-freeze-list',
                                 'guest-get-fsinfo'),
    'frozen by a host': _frozen_by_a_host,
    'frozen by its admin': _frozen_by_its_admin,
    'migrating': _migrating,
}.items()}
