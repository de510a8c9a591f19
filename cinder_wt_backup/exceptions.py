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

"""What can go wrong on the way to a consistent backup.

Every error of an outside thing (libvirt, the guest agent, the guardian) is
translated into one of these where it arises. Its text is what an operator
reads, in the log and as ``wt:reason`` in the backup's metadata, so it names
what happened and what to do about it, and is made plain here, once for all of
them: what an outside thing said may be in it.
"""

from __future__ import annotations

from cinder_wt_backup import plain


class WriteThroughError(Exception):
    """Base of all errors of this package.

    :param message: may have text of others in it
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain.text(message, plain.MAX_TEXT))


class ConfigurationError(WriteThroughError):
    """The service cannot start with these options or with this Cinder."""


class PolicyError(WriteThroughError):
    """A backup cannot have what was asked of it; it has to fail."""


class Unreachable(WriteThroughError):
    """Nothing can be learnt of this guest: no host, no domain, no agent."""


class HostUnreachable(Unreachable):
    """The compute host's libvirt did not answer in time or refused."""


class DomainNotFound(Unreachable):
    """The host does not run that instance with that volume."""


class DomainNotRunning(Unreachable):
    """The domain is there but its guest does not run.

    :ivar shut_off: the instance is shut off, rather than paused, suspended
        or crashed
    :ivar memory_gone: it has forgotten everything: there is nothing to be put
        back in it, though it may not have been shut off
    """

    def __init__(self, message: str, shut_off: bool = False,
                 memory_gone: bool = False) -> None:
        super().__init__(message)
        self.shut_off = shut_off
        self.memory_gone = memory_gone


class DiskUnsafe(WriteThroughError):
    """What a guest flushes may not reach the volume: nothing can be proven."""


class AgentError(WriteThroughError):
    """The guest agent answered with an error, or with nonsense."""


class AgentUnavailable(AgentError, Unreachable):
    """There is no agent channel, or the agent is silent."""


class AgentRefused(AgentError):
    """The agent carried a command out in vain, or not at all: its own word."""


class TooLate(AgentError):
    """The time for all of it had passed: nothing more was asked."""


class ProgramNotStarted(AgentRefused):
    """The agent could not start a program: nothing was changed."""


class GuestFrozen(AgentError):
    """Somebody else has frozen the guest; it may be thawed in a moment."""

    def __init__(self, instance: str) -> None:
        super().__init__(f'instance {instance} is frozen by somebody else: '
                         'thaw it, or wait for who did it')


class CommandBlocked(AgentError):
    """The guest's agent does not permit a command that is needed."""


class GuardianError(WriteThroughError):
    """The guardian could not do its work in the guest."""


class GuardianUnable(GuardianError):
    """The guardian could not start: the guest was not changed.

    :ivar flushed: but what was dirty in it was written
    """

    def __init__(self, message: str, flushed: bool = False) -> None:
        super().__init__(message)
        self.flushed = flushed


class GuardianStuck(GuardianError):
    """The guest is still changed: putting it back is to be tried again."""


class GuardianUnknown(GuardianError):
    """How it ended says nothing: the guest may be changed."""


class GuardianLapsed(GuardianError):
    """The window had ended: by its lease, a reboot or a release."""


class GuardianBusy(GuardianError):
    """Another window is open in this guest."""


class BackupGone(WriteThroughError):
    """The backup was deleted or reset while we waited."""


class RecordUnreadable(WriteThroughError):
    """What is on record of a window cannot be read here, or is gone."""


class NoSlot(WriteThroughError):
    """No window could be opened, since too many others were."""


class WindowInTheWay(WriteThroughError):
    """Another window, of the instance or the volume, did not end in time."""
