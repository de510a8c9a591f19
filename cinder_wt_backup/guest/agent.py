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

"""The QEMU guest agent's commands: the only module with QAPI names.

What an agent answers is written by the guest, so it is hostile input: every
answer is bounded in size and time and checked for its type before use.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import re
import time
from typing import TypeVar

from oslo_serialization import jsonutils
import tenacity

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import deadline
from cinder_wt_backup.guest.hypervisor import domain as domains
from cinder_wt_backup import plain
from cinder_wt_backup import steps

EXEC = 'guest-exec'
EXEC_STATUS = 'guest-exec-status'
FSINFO = 'guest-get-fsinfo'
FREEZE = 'guest-fsfreeze-freeze-list'
FREEZE_STATUS = 'guest-fsfreeze-status'
THAW = 'guest-fsfreeze-thaw'
# What no agent carries out while the guest is frozen.
NOT_FROZEN = frozenset({EXEC, FSINFO, FREEZE})

# Characters of one answer, mount points of one fsinfo, characters of one (a
# Linux path has no more), and any number: process ids, statuses, counts.
MAX_ANSWER = 1 << 20
MAX_MOUNTS = 4096
MAX_POINT = 4096
MAX_NUMBER = (1 << 32) - 1
MAX_VERSION = 64                # characters that are told
# QEMU's word for a mount point of Windows' volumes that have none.
UNMOUNTED = 'System Reserved'
# What a filesystem's type may look like to be put on record.
KIND = re.compile(r'[A-Za-z0-9_.+-]{1,32}')
# A program's end is only seen by asking: after FIRST_POLL seconds, then again
# when a third of the time that has passed has passed once more, so that few
# messages are sent and little time is lost.
FIRST_POLL, LAST_POLL, POLL_PART = 0.2, 0.5, 0.3

_Kind = TypeVar('_Kind')


@dataclasses.dataclass(frozen=True)
class Exit:
    """How a program that was run in the guest ended."""

    status: int
    output: str


@dataclasses.dataclass(frozen=True)
class Mount:
    """One entry of guest-get-fsinfo.

    :ivar name: the block device's name in the guest; binds of one
        filesystem share it
    :ivar serials: of the disks below it, as the guest sees them
    :ivar addresses: PCI addresses of the same disks
    """

    name: str
    mountpoint: str
    kind: str
    serials: frozenset[str]
    addresses: frozenset[str]


class Agent:
    """The guest agent of one domain.

    :param domain: whose agent
    :param timeout: seconds for one answer
    :ivar until: when all answers that are under way have to be there
    """

    def __init__(self, domain: domains.Domain, timeout: int,
                 end: deadline.Deadline = deadline.NEVER) -> None:
        self._domain = domain
        self._timeout = timeout
        self.until = end
        self.round_trips = 0

    @property
    def instance(self) -> str:
        """The instance's UUID, for messages."""
        return self._domain.instance

    def permitted_commands(self) -> frozenset[str]:
        """Return the commands that this agent carries out (guest-info)."""
        commands = _of(list, self._info().get(
            'supported_commands'))[:MAX_MOUNTS]
        return frozenset(
            command['name'] for command in commands
            if isinstance(command, dict) and command.get('enabled') is True
            and isinstance(command.get('name'), str))

    def version(self) -> str:
        """Return what this agent calls its version (guest-info)."""
        return plain.text(_of(str, self._info().get('version')), MAX_VERSION)

    def _info(self) -> dict[str, object]:
        return _of(dict, self._command('guest-info'))

    def run(self, argv: Sequence[str], stdin: bytes, timeout: float,
            on_start: Callable[[], None] = lambda: None) -> Exit:
        """Run a program in the guest and wait for its end (guest-exec).

        :param argv: path and arguments; never a shell's text
        :param timeout: seconds until it must have ended
        :param on_start: called once the agent has said that it runs
        :raises ProgramNotStarted: there is no such program, or it was not
            permitted
        :raises GuestFrozen: somebody froze the guest: it was not started
        :raises AgentError: it did not end in time, or ended by a signal

        Its end is heard also when the guest is frozen meanwhile, as Nova does
        for its own snapshots: an agent that refuses to say is asked again.
        """
        pid = self._start(argv, stdin)
        on_start()
        poll = tenacity.Retrying(
            retry=tenacity.retry_if_result(
                lambda status: status.get('exited') is not True),
            wait=_until_next_poll,
            stop=tenacity.stop_after_delay(self.until.limit(timeout)),
            sleep=time.sleep)
        time.sleep(FIRST_POLL)
        try:
            status = poll(self._status_unless_frozen, pid)
        except tenacity.RetryError as error:
            raise exceptions.AgentError(
                f'a program in instance {self.instance} did not end within '
                f'{timeout:.0f} s') from error
        return Exit(_number(status.get('exitcode')),
                    _text(status.get('out-data', '')))

    def mounts(self) -> list[Mount]:
        """Return what is mounted on disks (guest-get-fsinfo)."""
        entries = _of(list, self._command(FSINFO))
        if len(entries) > MAX_MOUNTS:
            raise _nonsense(f'{len(entries)} mounts')
        found = [_mount(_of(dict, entry)) for entry in entries]
        return [mount for mount in found if mount.mountpoint != UNMOUNTED]

    def is_frozen(self, undoing: bool = False) -> bool:
        """Return whether the agent holds a freeze (guest-fsfreeze-status).

        :param undoing: to be asked whatever time there was for all of it
        """
        return bool(self._command(
            FREEZE_STATUS, undoing=undoing) == 'frozen')

    def says_frozen(self) -> bool:
        """Whether it is known to be frozen; old agents may not say."""
        try:
            return self.is_frozen()
        except exceptions.AgentRefused:
            return False

    def freeze(self, mountpoints: Sequence[str], patience: int = 1) -> int:
        """Freeze those and return how many filesystems that were.

        QAPI's guest-fsfreeze-freeze-list. After any error the freeze may
        still happen: thaw.

        :param patience: how many times longer than another answer it may take
        """
        count = self._command(FREEZE, patience, mountpoints=list(mountpoints))
        steps.reached(steps.Step.FROZEN, self.instance)
        return _number(count)

    def thaw(self) -> int:
        """Thaw all that is frozen in the guest; return how many that were.

        QAPI's guest-fsfreeze-thaw: 0 when somebody thawed before. It is asked
        whatever time there was for all of it.
        """
        return _number(self._command(THAW, undoing=True))

    def _start(self, argv: Sequence[str], stdin: bytes) -> int:
        try:
            given = ({'input-data': base64.b64encode(stdin).decode()}
                     if stdin else {})
            answer = self._command(
                EXEC, 1, False, path=argv[0], arg=list(argv[1:]),
                **{'capture-output': True}, **given)
        except exceptions.AgentRefused as error:
            if self.says_frozen():
                raise exceptions.GuestFrozen(self.instance) from error
            raise exceptions.ProgramNotStarted(str(error)) from error
        return _number(_of(dict, answer).get('pid'))

    def _status_unless_frozen(self, pid: int) -> dict[str, object]:
        try:
            return _of(dict, self._command(EXEC_STATUS, pid=pid))
        except exceptions.AgentRefused:
            if self.says_frozen():
                return {}           # to be asked again
            raise

    def _command(self, name: str, patience: int = 1, undoing: bool = False,
                 **arguments: object) -> object:
        request: dict[str, object] = {'execute': name}
        if arguments:
            request['arguments'] = arguments
        end = deadline.NEVER if undoing else self.until
        timeout = end.limit(patience * self._timeout)
        self.round_trips += 1
        answer = self._domain.agent_command(jsonutils.dumps(request),
                                            timeout, end.left)
        if len(answer) > MAX_ANSWER:
            raise _nonsense(f'{len(answer)} characters to {name}')
        try:
            return _of(dict, jsonutils.loads(answer))['return']
        except (ValueError, KeyError, RecursionError) as error:
            raise _nonsense(f'no return value to {name}') from error


def _until_next_poll(state: tenacity.RetryCallState) -> float:
    passed = FIRST_POLL + (state.seconds_since_start or 0)
    return min(POLL_PART * passed, LAST_POLL)


def _of(kind: type[_Kind], value: object) -> _Kind:
    # JSON's true is an int to Python, not to QAPI.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _nonsense(f'{type(value).__name__} for {kind.__name__}')
    return value


def _number(value: object) -> int:
    number = _of(int, value)
    if not 0 <= number <= MAX_NUMBER:
        raise _nonsense('a number that is none of an agent')
    return number


def _nonsense(what: str) -> exceptions.AgentError:
    return exceptions.AgentError(f'the guest agent answered {what}')


def _text(encoded: object) -> str:
    try:
        return base64.b64decode(_of(str, encoded)).decode('utf-8', 'replace')
    except (binascii.Error, ValueError) as error:
        raise _nonsense('something else than base64') from error


def _mount(entry: dict[str, object]) -> Mount:
    disks = [_of(dict, disk) for disk in _of(list, entry.get('disk', []))]
    kind = _of(str, entry.get('type'))
    point = _of(str, entry.get('mountpoint'))
    if len(point) > MAX_POINT:
        raise _nonsense(f'a mount point of {len(point)} characters')
    return Mount(
        name=_of(str, entry.get('name')),
        mountpoint=point,
        kind=kind if KIND.fullmatch(kind) else 'other',
        serials=frozenset(disk['serial'] for disk in disks
                          if isinstance(disk.get('serial'), str)),
        addresses=frozenset(
            _address(disk['pci-controller']) for disk in disks
            if isinstance(disk.get('pci-controller'), dict)))


def _address(pci: dict[str, object]) -> str:
    domain, bus, slot, function = (
        _of(int, pci.get(part))
        for part in ('domain', 'bus', 'slot', 'function'))
    return f'{domain:04x}:{bus:02x}:{slot:02x}.{function:x}'
