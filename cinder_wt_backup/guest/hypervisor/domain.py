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

"""One instance: the domain that its host's libvirt runs."""

from __future__ import annotations

from collections.abc import Callable
import math
from typing import Protocol
from typing import TypeVar

import libvirt
import libvirt_qemu

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.hypervisor import description
from cinder_wt_backup import plain

_Result = TypeVar('_Result')

# Seconds that libvirt waits besides: for whoever else has the agent's lock
# (qemu_domainjob.c), and for a guest-sync (qemu_agent.c), with the way.
LIBVIRT_LOCK, LIBVIRT_SYNC = 30, 7
# How libvirt passes on an error that is the agent's answer.
REFUSAL = 'unable to execute QEMU agent command'


def bare(error: exceptions.WriteThroughError) -> exceptions.WriteThroughError:
    """Return an error that holds nothing of what libvirt gave.

    The end of that blocks, and who keeps the error is not to end it.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class Host(Protocol):
    """The host of a domain, as that asks it."""

    uri: str

    def ask(self, place: str, timeout: float,
            function: Callable[..., _Result], *args: object) -> _Result:
        """Return ``function(*args)``, within ``timeout`` seconds."""


class Domain:
    """A running instance as its host's libvirt knows it.

    :param host: where it runs
    :param described: what that says of it
    """

    def __init__(self, host: Host, domain: 'libvirt.virDomain',
                 described: description.Description, instance: str) -> None:
        self.instance = instance
        self._host = host
        self._domain: libvirt.virDomain | None = domain
        self._description = described

    def let_go(self) -> 'libvirt.virDomain | None':
        """Return libvirt's object; nothing can be asked of it any more."""
        held, self._domain = self._domain, None
        return held

    def disk(self, volume: str, project: str, source: str | None
             ) -> description.Disk:
        """Return the disk that is this volume.

        Attachments are written by tenants, the live XML by Nova: only what
        this says counts.

        :param volume: the volume's id: the disk's serial or alias
        :param project: the volume's project: must be the instance's
        :param source: the network source that Cinder gave out, if known
        :raises DomainNotFound: no such disk, or not that project's
        """
        if project not in self._description.projects:
            raise exceptions.DomainNotFound(
                f'instance {self.instance} is not of the volume\'s project '
                f'{project}: it is not touched')
        for disk in self._description.disks:
            if volume in disk.names:
                self._check_source(disk, volume, source)
                return disk
        raise exceptions.DomainNotFound(
            f'instance {self.instance} has no disk with the serial {volume}: '
            f'it is not touched')

    def check_agent_channel(self) -> None:
        """See whether an agent can be talked to, without talking to it.

        :raises AgentUnavailable: the domain has no channel, or nobody in the
            guest has opened it
        """
        state = self._description.agent_channel
        if state == 'disconnected':
            raise exceptions.AgentUnavailable(
                f'no guest agent runs in instance {self.instance}: '
                f'install and start qemu-guest-agent in it')
        if state is not None:
            return
        raise exceptions.AgentUnavailable(
            f'instance {self.instance} has no guest agent channel: set '
            f'hw_qemu_guest_agent=yes on its image and rebuild, or shelve '
            f'and unshelve it')

    def agent_command(self, command: str, timeout: float,
                      whole: float = math.inf) -> str:
        """Send one command to the guest agent and return its answer.

        libvirt's qemuAgentCommand, which takes a limit of its own. Before it,
        libvirt waits for whoever else talks to that agent, and for the answer
        to its guest-sync: then it says so itself, and who it is.

        :param command: JSON
        :param timeout: seconds for the answer
        :param whole: seconds for all of it, but for what libvirt needs to end
            it: a call that is left behind keeps this agent from the next one
        :raises AgentUnavailable: no answer in time, or no agent
        :raises AgentRefused: the agent's own error
        :raises AgentError: what it answered is none
        :raises HostUnreachable: the connection is lost, or nobody was asked
        """
        try:
            return self._ask_agent(command, timeout, whole)
        except exceptions.WriteThroughError as error:
            raise bare(error) from None

    def _ask_agent(self, command: str, timeout: float, whole: float) -> str:
        if self._domain is None:
            raise exceptions.HostUnreachable(
                f'the connection to {self._host.uri} was closed')
        whole = min(whole + LIBVIRT_SYNC, timeout + LIBVIRT_SYNC
                    + LIBVIRT_LOCK)
        try:
            return str(self._host.ask(
                f'{self._host.uri}, for instance {self.instance},', whole,
                libvirt_qemu.qemuAgentCommand, self._domain, command,
                math.ceil(timeout), 0))
        except TimeoutError as error:
            raise exceptions.AgentUnavailable(
                f'the guest agent of instance {self.instance} did not answer '
                f'within {whole:.0f} s, nor did libvirt for it: see whether '
                f'somebody else waits for that agent, and to libvirtd at '
                f'{self._host.uri}') from error
        except libvirt.libvirtError as error:
            raise self._agent_error(error) from error
        except (SystemError, UnicodeError) as error:
            # libvirt's bindings pass on nothing but UTF-8.
            raise exceptions.AgentError(
                f'the guest agent of instance {self.instance} answered '
                f'something else than text') from error

    def _agent_error(self, error: 'libvirt.libvirtError'
                     ) -> exceptions.WriteThroughError:
        code, text = error.get_error_code(), plain.text(error)
        if code in (libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
                    libvirt.VIR_ERR_AGENT_UNSYNCED,
                    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
                    getattr(libvirt, 'VIR_ERR_AGENT_COMMAND_TIMEOUT', None)):
            return exceptions.AgentUnavailable(
                f'the guest agent of instance {self.instance} does not '
                f'answer ({text}): see to qemu-guest-agent in it')
        if code in (libvirt.VIR_ERR_OPERATION_INVALID,
                    libvirt.VIR_ERR_NO_DOMAIN):
            return exceptions.DomainNotRunning(
                f'instance {self.instance} stopped running: {text}')
        kind = (exceptions.AgentRefused if REFUSAL in text
                else exceptions.AgentError)
        return kind(f'the guest agent of instance {self.instance}: {text}')

    def _check_source(self, disk: description.Disk, volume: str,
                      source: str | None) -> None:
        if source and disk.kind == 'network' and disk.source != source:
            raise exceptions.DomainNotFound(
                f'the disk {volume} of instance {self.instance} comes from '
                f'{disk.source}, not from {source}: it is not touched')
