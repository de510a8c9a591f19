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
import dataclasses
from typing import Protocol
from typing import TypeVar
from xml.etree import ElementTree  # nosec B405

import libvirt
import libvirt_qemu

from cinder_wt_backup import exceptions
from cinder_wt_backup import plain

_Result = TypeVar('_Result')

AGENT_CHANNEL = 'org.qemu.guest_agent.0'
# How libvirt passes on an error that is the agent's answer.
REFUSAL = 'unable to execute QEMU agent command'


@dataclasses.dataclass(frozen=True)
class Disk:
    """A Cinder volume as a domain has it.

    :ivar target: the name in the domain, such as ``vdb``
    :ivar address: the PCI address of a virtio-blk disk, ``0000:00:04.0``
    :ivar source: the network source's name, such as ``volumes/volume-ID``
    :ivar unsafe: why what the guest has flushed may not be on the volume all
        the same, and what to do about it; empty: it is
    """

    target: str
    address: str | None
    source: str | None
    unsafe: str = ''


class Call(Protocol):
    """Makes one libvirt call; translates what says that the host was lost."""

    def __call__(self, timeout: float, function: Callable[..., _Result],
                 *args: object) -> _Result:
        """Return ``function(*args)`` within ``timeout`` seconds."""


class Domain:
    """A running instance as its host's libvirt knows it.

    :param call: how libvirt is called
    """

    def __init__(self, call: Call, domain: 'libvirt.virDomain',
                 xml: ElementTree.Element, instance: str) -> None:
        self.instance = instance
        self._call_within = call
        self._domain = domain
        self._xml = xml

    def disk(self, volume: str, project: str, source: str | None) -> Disk:
        """Return the disk that is this volume.

        Attachments are written by tenants, the live XML by Nova: only what
        this says counts.

        :param volume: the volume's id: the disk's serial or alias
        :param project: the volume's project: must be the instance's
        :param source: the network source that Cinder gave out, if known
        :raises DomainNotFound: no such disk, or not that project's
        """
        if project not in self._projects():
            raise exceptions.DomainNotFound(
                f'instance {self.instance} is not of the volume\'s project '
                f'{project}: it is not touched')
        for disk in self._xml.iterfind('./devices/disk'):
            alias = disk.find('./alias')
            if (disk.findtext('./serial') == volume or alias is not None
                    and alias.get('name') == f'ua-{volume}'):
                return self._checked(disk, volume, source)
        raise exceptions.DomainNotFound(
            f'instance {self.instance} has no disk with the serial {volume}: '
            f'it is not touched')

    def check_agent_channel(self) -> None:
        """See whether an agent can be talked to, without talking to it.

        :raises AgentUnavailable: the domain has no channel, or nobody in the
            guest has opened it
        """
        for target in self._xml.iterfind('./devices/channel/target'):
            if target.get('name') == AGENT_CHANNEL:
                if target.get('state') == 'disconnected':
                    raise exceptions.AgentUnavailable(
                        f'no guest agent runs in instance {self.instance}: '
                        f'install and start qemu-guest-agent in it')
                return
        raise exceptions.AgentUnavailable(
            f'instance {self.instance} has no guest agent channel: set '
            f'hw_qemu_guest_agent=yes on its image and rebuild, or shelve '
            f'and unshelve it')

    def agent_command(self, command: str, timeout: int) -> str:
        """Send one command to the guest agent and return its answer.

        libvirt's qemuAgentCommand, which takes a limit of its own; the 5 s of
        its guest-sync come on top.

        :param command: JSON
        :param timeout: seconds
        :raises AgentUnavailable: no answer in time, or no agent
        :raises AgentRefused: the agent's own error
        :raises AgentError: what it answered is none
        :raises HostUnreachable: the host did not answer
        """
        try:
            return str(self._call_within(
                timeout + 7, libvirt_qemu.qemuAgentCommand, self._domain,
                command, timeout, 0))
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

    def _projects(self) -> list[str | None]:
        return [project.get('uuid') for project in self._xml.iterfind(
            './metadata/{*}instance/{*}owner/{*}project')]

    def _checked(self, disk: ElementTree.Element, volume: str,
                 source: str | None) -> Disk:
        found = disk.find('./source')
        name = found.get('name') if found is not None else None
        if source and disk.get('type') == 'network' and name != source:
            raise exceptions.DomainNotFound(
                f'the disk {volume} of instance {self.instance} comes from '
                f'{name}, not from {source}: it is not touched')
        target = disk.find('./target')
        return Disk(target=str(target.get('dev')
                               if target is not None else ''),
                    address=_pci_address(disk), source=name,
                    unsafe=_unsafe(disk))


def _unsafe(disk: ElementTree.Element) -> str:
    """Return what of a disk's XML lets QEMU acknowledge what is not there."""
    driver = disk.find('./driver')
    options = driver.attrib if driver is not None else {}
    if options.get('cache') == 'unsafe':
        return ('cache=\'unsafe\' has QEMU ignore its flushes: have another '
                'mode in nova.conf, [libvirt] disk_cachemodes, and reboot it '
                '--hard')
    if options.get('error_policy') == 'ignore':
        return ('error_policy=\'ignore\' has QEMU say that writes succeeded '
                'which did not: take it away')
    if disk.find('./transient') is not None:
        return 'it is transient: QEMU writes to a file beside it'
    return ''


def _pci_address(disk: ElementTree.Element) -> str | None:
    address = disk.find('./address')
    if address is None or address.get('type') != 'pci':
        return None
    domain, bus, slot, function = (
        int(address.get(part, '0'), 16)
        for part in ('domain', 'bus', 'slot', 'function'))
    return f'{domain:04x}:{bus:02x}:{slot:02x}.{function:x}'
