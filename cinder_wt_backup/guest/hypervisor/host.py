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

"""One compute host's libvirt."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import TypeVar

import libvirt
import libvirt_qemu

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import blocking
from cinder_wt_backup.guest import deadline
from cinder_wt_backup.guest.hypervisor import connections
from cinder_wt_backup.guest.hypervisor import description as descriptions
from cinder_wt_backup.guest.hypervisor import domain as domains
from cinder_wt_backup.guest.hypervisor import remedies
from cinder_wt_backup.guest.hypervisor import states
from cinder_wt_backup import plain

# A round of the event loop, which keepalives need.
LOOP_MS = 1000
# Below what libvirt takes for an agent's answer.
IMPOSSIBLE_TIMEOUT = -9
# What it says only once it has seen that commands for agents are permitted.
AFTER_PERMISSION = (libvirt.VIR_ERR_INVALID_ARG,
                    libvirt.VIR_ERR_OPERATION_INVALID,
                    libvirt.VIR_ERR_AGENT_UNRESPONSIVE)
MOST_TRIED = 8
_Result = TypeVar('_Result')
# Any call may find that the connection is gone.
LOST = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_ACCESS_DENIED, libvirt.VIR_ERR_OPERATION_DENIED)

_loop_lock = threading.Lock()
_loop_started = False


class Hypervisor:
    """A connection to one compute host's libvirt.

    One that another has left behind, or a new one.

    :param uri: libvirt's connection URI
    :param timeout: seconds that one call may take
    :param end: when all of them have to be over
    """

    def __init__(self, uri: str, timeout: float,
                 end: deadline.Deadline = deadline.NEVER) -> None:
        self.uri = uri
        self._timeout = timeout
        self._end = end
        self._connection: connections.Connection | None = None
        self._domains: list[domains.Domain] = []
        # A call failed on the way, or has not come back: for nobody else.
        self._doubtful = False

    def __enter__(self) -> 'Hypervisor':
        """Connect.

        :raises HostUnreachable: nobody answers there in time, or refuses
        :raises TooLate: there was no time left
        """
        try:
            _start_event_loop()
        except blocking.NotCalledError as error:
            raise self._not_asked(error) from error
        self._connection = self._left_behind() or self._made()
        return self

    def __exit__(self, *args: object) -> None:
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        held: list[object] = [domain.let_go() for domain in self._domains]
        if self._doubtful:
            connections.end(connection, *held)
            return
        if held:
            blocking.let_go(held, lambda: None)
        connections.keep(self.uri, connection)

    def running(self) -> int:
        """Return how many instances run there.

        :raises HostUnreachable: the connection was lost
        """
        assert self._connection is not None
        try:
            return int(self.call(self._connection.handle.numOfDomains))
        except libvirt.libvirtError as error:
            raise exceptions.HostUnreachable(
                remedies.lost(self.uri, error)) from error

    def try_agent_commands(self) -> bool:
        """See that commands for agents are permitted; send none.

        libvirt looks whether they are before it sees that a domain is shut
        off or that a timeout cannot be (qemuDomainQemuAgentCommand). Those
        that are shut off come first: one that runs is marked as tainted.

        :returns: whether there was an instance to try it with
        :raises HostUnreachable: they are not, or the connection was lost
        """
        assert self._connection is not None
        try:
            found = [domain for state in (
                libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE,
                libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
                for domain in self.call(
                    self._connection.handle.listAllDomains, state)]
        except libvirt.libvirtError as error:
            raise exceptions.HostUnreachable(
                remedies.lost(self.uri, error)) from error
        return any(map(self._permits, found[:MOST_TRIED]))

    def _permits(self, domain: libvirt.virDomain) -> bool:
        """Whether libvirt was seen to permit it for a domain.

        :raises HostUnreachable: it does not
        """
        try:
            self.ask(f'{self.uri} {domain.UUIDString()}',
                     self._end.limit(self._timeout),
                     libvirt_qemu.qemuAgentCommand, domain, '{}',
                     IMPOSSIBLE_TIMEOUT, 0)
        except TimeoutError:
            return False        # somebody else has its agent
        except libvirt.libvirtError as error:
            return error.get_error_code() in AFTER_PERMISSION
        return False

    def domain(self, instance: str) -> domains.Domain:
        """Return a running instance's domain.

        :param instance: the instance's UUID, which is the domain's
        :raises DomainNotFound: it is not on this host
        :raises DomainNotRunning: it is, but its guest does not run
        :raises HostUnreachable: the connection was lost
        """
        try:
            return self._domain(instance)
        except exceptions.WriteThroughError as error:
            raise domains.bare(error) from None

    def _domain(self, instance: str) -> domains.Domain:
        assert self._connection is not None
        try:
            domain = self.call(
                self._connection.handle.lookupByUUIDString, instance)
            state, reason = self.call(domain.state)
            if state != libvirt.VIR_DOMAIN_RUNNING:
                raise states.not_running(
                    instance, state, reason,
                    bool(self.call(domain.hasManagedSaveImage)))
            xml = self.call(domain.XMLDesc)
        except libvirt.libvirtError as error:
            raise exceptions.DomainNotFound(
                f'instance {instance} is not to be had at {self.uri}: '
                f'{plain.text(error)}') from error
        found = domains.Domain(self, domain,
                               descriptions.read(xml, instance), instance)
        self._domains.append(found)
        return found

    def _left_behind(self) -> connections.Connection | None:
        """Return a connection that was made before, if it still answers.

        One that does not is left to end. Where the host hangs, the next call
        is refused, and this was the one wait.
        """
        found = connections.take(self.uri)
        if found is None:
            return None
        answers = False
        try:
            self.call(found.handle.getLibVersion)
            answers = True
        except (exceptions.WriteThroughError, libvirt.libvirtError):
            self._doubtful = False
        finally:
            if not answers:
                connections.end(found)
        return found if answers else None

    def _made(self) -> connections.Connection:
        timeout = self._end.limit(self._timeout)
        try:
            return connections.make(self.uri, timeout)
        except TimeoutError as error:
            raise self._silent(timeout) from error
        except blocking.NotCalledError as error:
            raise self._not_asked(error) from error

    def call(self, function: Callable[..., _Result],
             *args: object) -> _Result:
        """Make a libvirt call, bounded.

        :raises HostUnreachable: no answer in time, or the connection is lost
        :raises TooLate: there was no time left
        :raises libvirt.libvirtError: any other error, for this module only
        """
        return self._call_within(self._end.limit(self._timeout), function,
                                 *args)

    def _call_within(self, timeout: float, function: Callable[..., _Result],
                     *args: object) -> _Result:
        try:
            return self.ask(self.uri, timeout, function, *args)
        except TimeoutError as error:
            raise self._silent(timeout) from error

    def ask(self, place: str, timeout: float,
            function: Callable[..., _Result], *args: object) -> _Result:
        """Make a libvirt call that may take ``timeout`` seconds.

        :param place: what is not asked again before it has answered: this
            host, or one domain
        :raises TimeoutError: it took longer
        :raises HostUnreachable: the connection is lost, or nobody was asked
        """
        try:
            return blocking.call(place, timeout, function, *args)
        except blocking.NotCalledError as error:
            raise self._not_asked(error, place) from error
        except libvirt.libvirtError as error:
            if not self._is_lost(error):
                raise
            self._doubtful = True
            raise exceptions.HostUnreachable(
                remedies.lost(self.uri, error)) from error
        except BaseException:
            # Who waited is ended, as a green thread may be.
            self._doubtful = True
            raise

    def _silent(self, timeout: float) -> exceptions.HostUnreachable:
        return exceptions.HostUnreachable(
            f'libvirt at {self.uri} did not answer within {timeout:.0f} s: '
            f'see that the host is up and that no firewall is between, and '
            f'look at libvirtd there')

    def _not_asked(self, error: blocking.NotCalledError, place: str = ''
                   ) -> exceptions.HostUnreachable:
        return exceptions.HostUnreachable(
            f'libvirt at {place or self.uri} was not asked: {error}; look at '
            f'libvirtd there')

    def _is_lost(self, error: 'libvirt.libvirtError') -> bool:
        """Whether it is the host's fault, rather than the guest's.

        What the qemu driver says is about the guest; and an answer that is
        larger than libvirt's messages leaves the connection alive.
        """
        code = error.get_error_code()
        if code == libvirt.VIR_ERR_RPC and self._connection is not None:
            return not self._connection.handle.isAlive()
        return (code in LOST
                and error.get_error_domain() != libvirt.VIR_FROM_QEMU)


def _start_event_loop() -> None:
    """Run libvirt's event loop once per process: keepalives need it.

    Not before the first window: Cinder's workers fork after their managers
    were built, and threads do not survive a fork.
    """
    global _loop_started
    with _loop_lock:
        if _loop_started:
            return
        # Errors are raised as exceptions; libvirt prints them as well.
        libvirt.registerErrorHandler(lambda *args: None, None)
        libvirt.virEventRegisterDefaultImpl()
        libvirt.virEventAddTimeout(
            LOOP_MS, lambda *args: connections.end_old(), None)
        blocking.run_forever(libvirt.virEventRunDefaultImpl)
        # Only now: without a thread the next connection tries again.
        _loop_started = True
