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

"""One guest that has the volume, and what it permits."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest import deadline
from cinder_wt_backup.guest.hypervisor import description
from cinder_wt_backup.guest.hypervisor import domain as domains
from cinder_wt_backup.guest.hypervisor import host as compute_host


@dataclasses.dataclass(frozen=True)
class Target:
    """An instance that a volume is attached to, checked but not yet reached.

    :ivar uris: libvirt's URIs of the hosts that may run it: more than one
        during a live migration
    :ivar source: the network source that Cinder gave out for the volume
    :ivar no_exec: the volume's owner permits no programs in his guest
    :ivar elsewhere: returns the URIs of today, to be asked when none of
        ``uris`` has it: it may have been migrated since
    """

    volume: str
    project: str
    instance: str
    uris: tuple[str, ...]
    source: str | None = None
    no_exec: bool = False
    elsewhere: Callable[[], tuple[str, ...]] = dataclasses.field(
        default=tuple, compare=False, repr=False)


class Guest:
    """A running guest that can be asked to make the volume consistent.

    :ivar before_freeze: to be called before it is frozen; puts that on
        record, for who finds it frozen later. May raise: do not freeze then
    """

    def __init__(self, target: Target, disk: description.Disk,
                 guest_agent: agent.Agent) -> None:
        self.volume = target.volume
        self.instance = target.instance
        self.disk = disk
        self.agent = guest_agent
        self._no_exec = target.no_exec
        self._known: frozenset[str] | None = None
        self.before_freeze: Callable[[], None] = lambda: None

    def move(self, found: 'Guest') -> None:
        """Go on with it where it was found now: it was migrated."""
        found.agent.round_trips += self.agent.round_trips
        self.disk, self.agent = found.disk, found.agent

    @property
    def unsafe(self) -> str:
        """Why nothing can be proven of this volume in it; empty: it can."""
        return self.disk.unsafe and (
            f'the disk {self.disk.target} of instance {self.instance}: '
            f'{self.disk.unsafe}')

    @property
    def _permitted(self) -> frozenset[str]:
        # No functools.cached_property: before Python 3.12 all guests share
        # its lock, and would wait for one whose agent is silent.
        if self._known is None:
            self._known = self.agent.permitted_commands()
        return self._known

    def runs_programs(self) -> bool:
        """Whether its agent and the volume's owner permit programs in it.

        :raises AgentError: the agent does not say
        """
        return not self._no_exec and {
            agent.EXEC, agent.EXEC_STATUS} <= self._permitted

    def require(self, *commands: str) -> None:
        """See that the agent carries these out.

        :raises CommandBlocked: it does not
        :raises GuestFrozen: the guest is frozen, when all agents block
            everything but a thaw
        :raises AgentError: it did not say
        """
        blocked = self._blocked(commands)
        if blocked and not self._permitted & agent.NOT_FROZEN:
            # Whoever froze it may have ended that since it was asked.
            self._known = None
            blocked = self._blocked(commands)
        if blocked:
            raise exceptions.CommandBlocked(
                f'the guest agent of instance {self.instance} blocks '
                f'{", ".join(blocked)}: permit it in the guest (RHEL: '
                f'/etc/sysconfig/qemu-ga), or update an agent that is too '
                f'old for it')

    def _blocked(self, commands: Sequence[str]) -> list[str]:
        """Return those that the agent does not carry out.

        :raises GuestFrozen: it may, once somebody has thawed the guest
        """
        blocked = [name for name in commands if name not in self._permitted]
        if (blocked and agent.FREEZE_STATUS in self._permitted
                and self.agent.is_frozen()):
            self._known = None
            raise exceptions.GuestFrozen(self.instance)
        return blocked

    def mounts(self) -> list[agent.Mount]:
        """Return the filesystems on the volume, one mount of each.

        As the agent sees them: not those of other mount namespaces.

        :raises GuestFrozen: somebody froze the guest since it was looked at
        :raises AgentError: the agent does not say
        """
        try:
            mounts = self.agent.mounts()
        except exceptions.AgentRefused:
            if self.agent.is_frozen():
                raise exceptions.GuestFrozen(self.instance) from None
            raise
        found = {mount.name: mount for mount in mounts
                 if self._on_volume(mount)}
        return list(found.values())

    def _on_volume(self, mount: agent.Mount) -> bool:
        # virtio-blk shows 20 of a serial's 36 characters, SCSI a prefix.
        return (self.disk.address in mount.addresses
                or any(self.volume[:20] in serial
                       for serial in mount.serials))


@contextlib.contextmanager
def connect(target: Target, timeout: int,
            end: deadline.Deadline = deadline.NEVER
            ) -> Iterator[Guest]:
    """Connect to the guest of a target.

    :param timeout: seconds for each call on the way
    :param end: when they have to be over, and the agent's answers as well
    :raises TooLate: there was not time enough
    :raises DomainNotRunning: the instance is off, paused or suspended
    :raises Unreachable: no host has it with that volume, or no agent answers
    """
    with contextlib.ExitStack() as stack:
        domain = _find(stack, target, timeout, end)
        disk = domain.disk(target.volume, target.project, target.source)
        domain.check_agent_channel()
        yield Guest(target, disk, agent.Agent(domain, timeout, end))


def _find(stack: contextlib.ExitStack, target: Target, timeout: int,
          end: deadline.Deadline) -> domains.Domain:
    errors: list[exceptions.Unreachable] = []
    for uri in _uris(target):
        try:
            host = stack.enter_context(compute_host.Hypervisor(
                uri, timeout, end))
            return host.domain(target.instance)
        except exceptions.Unreachable as error:
            errors.append(error)
    if not errors:
        raise exceptions.HostUnreachable(
            f'the host of instance {target.instance} is not known: list it '
            f'in libvirt_hosts, or set [nova] credentials')
    raise min(errors, key=_doubt)


def _uris(target: Target) -> Iterator[str]:
    yield from target.uris
    yield from (uri for uri in target.elsewhere() if uri not in target.uris)


def _doubt(error: exceptions.Unreachable) -> int:
    """Return in which order the hosts' answers count, when none has it.

    It may run at a host that does not answer, whatever the others say; where
    it came from by a migration it may stay defined, shut off.
    """
    if isinstance(error, exceptions.HostUnreachable):
        return 0
    if isinstance(error, exceptions.DomainNotRunning):
        return 2 if error.memory_gone else 1
    return 3
