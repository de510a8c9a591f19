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

"""Libvirt on a compute host: the only module that imports it.

Libvirt's errors become those of :mod:`cinder_wt_backup.exceptions` here, and
every call is bounded.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import socket
import threading
from typing import Any
import urllib.parse
from xml.etree import ElementTree  # nosec B405

from oslo_log import log as logging

from cinder_wt_backup import exceptions
from cinder_wt_backup import native

try:
    import libvirt
    import libvirt_qemu
except ImportError as error:
    raise ImportError(
        'cinder_wt_backup needs the Python bindings of libvirt: install the '
        'distribution\'s package (python3-libvirt) where cinder-backup can '
        f'import it, or libvirt-python from PyPI ({error}).') from error

LOG = logging.getLogger(__name__)

AGENT_CHANNEL = 'org.qemu.guest_agent.0'
# The ports of libvirt's own transports, tried before libvirt is asked: its
# connect has no limit of its own.
PORTS = {'tcp': 16509, 'tls': 16514}
# A dead connection ends after this many seconds times this many tries.
KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 5, 3
# A round of the event loop: the process, when it ends, waits for it.
LOOP_MS = 1000
STATES = {libvirt.VIR_DOMAIN_PAUSED: 'it is paused',
          libvirt.VIR_DOMAIN_SHUTDOWN: 'it is being shut down',
          libvirt.VIR_DOMAIN_SHUTOFF: 'it is shut off',
          libvirt.VIR_DOMAIN_CRASHED: 'its kernel has crashed',
          libvirt.VIR_DOMAIN_PMSUSPENDED: 'it is suspended'}
# Any call may find that the connection is gone.
LOST = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_ACCESS_DENIED, libvirt.VIR_ERR_OPERATION_DENIED)
# How libvirt passes on an error that is the agent's answer.
REFUSAL = 'unable to execute QEMU agent command'
# Characters of an error's text: an agent's own errors come in it.
MAX_ERROR = 500

_loop_lock = threading.Lock()
_loop_started = False


@dataclasses.dataclass(frozen=True)
class Disk:
    """A Cinder volume as a domain has it.

    :ivar target: the name in the domain, such as ``vdb``
    :ivar address: the PCI address of a virtio-blk disk, ``0000:00:04.0``
    :ivar source: the network source's name, such as ``volumes/volume-ID``
    """

    target: str
    address: str | None
    source: str | None


class Hypervisor:
    """A connection to one compute host's libvirt.

    :param uri: libvirt's connection URI
    :param timeout: seconds that one call may take
    """

    def __init__(self, uri: str, timeout: float) -> None:
        self.uri = uri
        self._timeout = timeout
        self._connection: libvirt.virConnect | None = None

    def __enter__(self) -> 'Hypervisor':
        """Connect.

        :raises HostUnreachable: nobody answers there in time, or refuses
        """
        _start_event_loop()
        self._try_port()
        self._connection = self.call(libvirt.open, self.uri)
        with contextlib.suppress(libvirt.libvirtError):
            self._connection.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
        return self

    def __exit__(self, *args: object) -> None:
        if self._connection is not None:
            with contextlib.suppress(exceptions.WriteThroughError,
                                     libvirt.libvirtError):
                self.call(self._connection.close)

    def running(self) -> int:
        """Return how many instances run there.

        :raises HostUnreachable: the connection was lost
        """
        assert self._connection is not None
        try:
            return int(self.call(self._connection.numOfDomains))
        except libvirt.libvirtError as error:
            raise exceptions.HostUnreachable(
                f'libvirt at {self.uri}: {error}') from error

    def domain(self, instance: str) -> 'Domain':
        """Return a running instance's domain.

        :param instance: the instance's UUID, which is the domain's
        :raises DomainNotFound: it is not on this host
        :raises DomainNotRunning: it is, but its guest does not run
        :raises HostUnreachable: the connection was lost
        """
        assert self._connection is not None
        try:
            domain = self.call(self._connection.lookupByUUIDString, instance)
            state, reason = self.call(domain.state)
            if state != libvirt.VIR_DOMAIN_RUNNING:
                raise exceptions.DomainNotRunning(
                    f'instance {instance} does not run '
                    f'({STATES.get(state, state)}): nothing could be flushed '
                    f'in it',
                    # What has migrated away runs elsewhere.
                    shut_off=state == libvirt.VIR_DOMAIN_SHUTOFF and reason
                    != libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED)
            # Written by libvirt; expat bounds what entities expand to.
            xml = ElementTree.fromstring(  # nosec B314
                self.call(domain.XMLDesc))
        except libvirt.libvirtError as error:
            raise exceptions.DomainNotFound(
                f'instance {instance} is not to be had at {self.uri}: '
                f'{error}') from error
        return Domain(self, domain, xml, instance)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Make a libvirt call, bounded.

        :raises HostUnreachable: no answer in time, or the connection is lost
        :raises libvirt.libvirtError: any other error, for this module only
        """
        return self.call_within(self._timeout, function, *args)

    def call_within(self, timeout: float, function: Callable[..., Any],
                    *args: Any) -> Any:
        """Make a libvirt call that may take ``timeout`` seconds."""
        try:
            return native.call(timeout, function, *args)
        except TimeoutError as error:
            raise exceptions.HostUnreachable(
                f'libvirt at {self.uri} did not answer within {timeout} s: '
                f'look at libvirtd there') from error
        except libvirt.libvirtError as error:
            if not self._is_lost(error):
                raise
            raise exceptions.HostUnreachable(
                f'libvirt at {self.uri}: {error}; check libvirt_uri, '
                f'libvirt_hosts and the credentials') from error

    def _is_lost(self, error: 'libvirt.libvirtError') -> bool:
        """Whether it is the host's fault, rather than the guest's.

        What the qemu driver says is about the guest; and an answer that is
        larger than libvirt's messages leaves the connection alive.
        """
        code = error.get_error_code()
        if code == libvirt.VIR_ERR_RPC and self._connection is not None:
            return not self._connection.isAlive()
        return (code in LOST
                and error.get_error_domain() != libvirt.VIR_FROM_QEMU)

    def _try_port(self) -> None:
        url = urllib.parse.urlsplit(self.uri)
        port = PORTS.get(url.scheme.partition('+')[2])
        if port is None or not url.hostname:
            return
        try:
            socket.create_connection((url.hostname, url.port or port),
                                     self._timeout).close()
        except OSError as error:
            raise exceptions.HostUnreachable(
                f'nothing listens at {self.uri} ({error}): check libvirt_uri '
                f'and libvirt_hosts, and libvirtd there') from error


class Domain:
    """A running instance as its host's libvirt knows it."""

    def __init__(self, hypervisor: Hypervisor, domain: 'libvirt.virDomain',
                 xml: ElementTree.Element, instance: str) -> None:
        self.instance = instance
        self._hypervisor = hypervisor
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
            return str(self._hypervisor.call_within(
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
        code, text = error.get_error_code(), _plain(error)
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
                f'instance {self.instance} stopped running: {text}',
                shut_off=False)
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
                    address=_pci_address(disk), source=name)


def _plain(error: Exception) -> str:
    """Return an error's text on one line, whatever a guest put into it."""
    return ''.join(character if character.isprintable() else '?'
                   for character in str(error)[:MAX_ERROR])


def _pci_address(disk: ElementTree.Element) -> str | None:
    address = disk.find('./address')
    if address is None or address.get('type') != 'pci':
        return None
    domain, bus, slot, function = (
        int(address.get(part, '0'), 16)
        for part in ('domain', 'bus', 'slot', 'function'))
    return f'{domain:04x}:{bus:02x}:{slot:02x}.{function:x}'


def _start_event_loop() -> None:
    """Run libvirt's event loop once per process: keepalives need it.

    Not before the first window: Cinder's workers fork after their managers
    were built, and threads do not survive a fork.
    """
    global _loop_started
    with _loop_lock:
        if _loop_started:
            return
        _loop_started = True
        # Errors are raised as exceptions; libvirt prints them as well.
        libvirt.registerErrorHandler(lambda *args: None, None)
        libvirt.virEventRegisterDefaultImpl()
        libvirt.virEventAddTimeout(LOOP_MS, lambda *args: None, None)
        native.run_forever(libvirt.virEventRunDefaultImpl)
