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

from collections.abc import Callable
import subprocess
import sys
import time

import ddt
import fixtures
import libvirt

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import blocking
from cinder_wt_backup.guest.hypervisor import host as compute_host
from tests.unit import base
from tests.unit.fixtures import libvirt as hosts


class ConnectionTest(base.GuestTestCase):

    def connect_to(self, uri: str, timeout: float = 5) -> None:
        with compute_host.Hypervisor(uri, timeout):
            pass

    def test_a_host_where_nobody_listens_is_unreachable(self) -> None:
        error = self.assertRaises(exceptions.HostUnreachable,
                                  self.connect_to, hosts.URI % 'compute9')
        self.assertIn('nothing listens there', str(error))

    def test_a_host_that_refuses_is_unreachable(self) -> None:
        error = self.assertRaises(exceptions.HostUnreachable,
                                  self.connect_to, 'qemu:///system')
        self.assertIn('check libvirt_uri', str(error))

    def test_a_host_that_hangs_is_given_up(self) -> None:
        self.libvirt.hang = 0.5
        error = self.assertRaises(exceptions.HostUnreachable, self.connect_to,
                                  hosts.URI % base.HOST, 0.1)
        self.assertIn('did not answer within', str(error))

    def test_the_instances_of_a_host_are_counted(self) -> None:
        with compute_host.Hypervisor(hosts.URI % base.HOST, 5) as host:
            self.assertEqual(1, host.running())

    def have_no_event_loop(self, run_forever: Callable[[object], None]
                           ) -> None:
        """Be a process that has none yet.

        :param run_forever: starts it
        """
        for name, value in (
                ('guest.hypervisor.host._loop_started', False),
                ('guest.blocking.run_forever', run_forever),
                *((f'guest.hypervisor.host.libvirt.{name}', lambda *args: None)
                  for name in ('virEventRegisterDefaultImpl',
                               'virEventAddTimeout',
                               'registerErrorHandler'))):
            self.useFixture(fixtures.MonkeyPatch(
                f'cinder_wt_backup.{name}', value))

    def test_the_event_loop_is_started_by_the_first_connection(self) -> None:
        loops: list[object] = []
        self.have_no_event_loop(loops.append)
        compute_host.Hypervisor(hosts.URI % base.HOST, 5)
        self.assertEqual([], loops)
        self.connect_to(hosts.URI % base.HOST)
        self.connect_to(hosts.URI % base.HOST)
        self.assertEqual([libvirt.virEventRunDefaultImpl], loops)

    def test_the_next_connection_starts_it_where_there_was_no_thread(
            self) -> None:
        loops: list[object] = []

        def run_forever(loop: object) -> None:
            loops.append(loop)
            if len(loops) == 1:
                raise blocking.NotCalledError("can't start new thread")
        self.have_no_event_loop(run_forever)
        error = self.assertRaises(
            exceptions.HostUnreachable,
            compute_host.Hypervisor(hosts.URI % base.HOST, 5).__enter__)
        self.assertIn('was not asked', str(error))
        self.connect_to(hosts.URI % base.HOST)
        self.connect_to(hosts.URI % base.HOST)
        self.assertEqual(2, len(loops))

    def test_the_event_loop_keeps_no_process_from_ending(self) -> None:
        # eventlet waits for the threads of its pool when it ends.
        program = ('import cinder.cmd.backup\n'
                   'from cinder_wt_backup.guest.hypervisor import host\n'
                   'host._start_event_loop()\n'
                   'import time\n'
                   'time.sleep(0.2)')
        subprocess.run([sys.executable, '-W', 'ignore', '-c', program],
                       check=True, timeout=60)


class AgainTest(base.GuestTestCase):
    """A host that is connected to again."""

    URI = hosts.URI % base.HOST

    def ask(self) -> None:
        with compute_host.Hypervisor(self.URI, 5) as host:
            self.assertEqual(1, host.running())

    def test_the_connection_is_used_again(self) -> None:
        self.ask()
        self.ask()
        self.assertEqual([self.URI], self.libvirt.opened)
        self.assertEqual([self.URI], self.libvirt.connected)

    def test_nobody_has_one_that_another_has(self) -> None:
        with compute_host.Hypervisor(self.URI, 5):
            self.ask()
            self.assertEqual(2, len(self.libvirt.opened))
        self.assertEqual([self.URI], self.libvirt.connected)

    def lose(self, said: str) -> None:
        """Have the connection that is kept say that once, if it is asked."""
        def lost() -> None:
            raise hosts.error(libvirt.VIR_ERR_SYSTEM_ERROR, said)
        self.libvirt.kept[self.URI].handle.getLibVersion = lost

    def test_one_that_was_lost_meanwhile_is_renewed(self) -> None:
        self.ask()
        self.lose('Broken pipe')
        self.ask()
        self.assertEqual(2, len(self.libvirt.opened))
        self.assertEqual([self.URI], self.libvirt.connected)

    def test_it_is_renewed_once(self) -> None:
        self.ask()
        self.lose('Broken pipe')
        self.libvirt.domains.clear()
        self.assertIn('nothing listens there', str(self.assertRaises(
            exceptions.HostUnreachable, self.ask)))
        self.assertEqual(2, len(self.libvirt.opened))

    def test_one_on_which_a_call_failed_is_for_nobody_else(self) -> None:
        with compute_host.Hypervisor(self.URI, 5) as host:
            def lost() -> None:
                raise hosts.error(libvirt.VIR_ERR_SYSTEM_ERROR, 'Broken pipe')
            self.assertRaises(exceptions.HostUnreachable, host.call, lost)
        self.assertEqual([], self.libvirt.connected)

    def test_one_on_which_a_call_hangs_is_for_nobody_else(self) -> None:
        with compute_host.Hypervisor(self.URI, 0.1) as host:
            self.assertRaises(exceptions.HostUnreachable, host.call,
                              time.sleep, 0.5)
        self.assertEqual({}, self.libvirt.kept)

    def test_one_that_hangs_when_it_is_needed_costs_one_wait(self) -> None:
        self.ask()
        self.libvirt.kept[self.URI].handle.getLibVersion = (
            lambda: time.sleep(0.5))
        began = time.monotonic()
        error = self.assertRaises(
            exceptions.HostUnreachable,
            compute_host.Hypervisor(self.URI, 0.2).__enter__)
        self.assertLess(time.monotonic() - began, 0.4)
        self.assertIn('has not come back', str(error))
        self.assertEqual(1, len(self.libvirt.opened))

    def test_what_an_instance_lacks_is_no_fault_of_it(self) -> None:
        with compute_host.Hypervisor(self.URI, 5) as host:
            self.assertRaises(exceptions.DomainNotFound, host.domain, 'x')
        self.assertEqual([self.URI], list(self.libvirt.kept))


class CredentialsTest(base.GuestTestCase):
    """A libvirt that wants to know who it is: SASL."""

    URI = hosts.URI % base.HOST

    def refused(self) -> str:
        host = compute_host.Hypervisor(self.URI, 5)
        return str(self.assertRaises(exceptions.HostUnreachable,
                                     host.__enter__))

    def test_those_of_auth_conf_are_used(self) -> None:
        self.libvirt.auth_conf[self.URI] = {
            libvirt.VIR_CRED_AUTHNAME: 'cinder',
            libvirt.VIR_CRED_PASSPHRASE: 'right'}
        with compute_host.Hypervisor(self.URI, 5) as host:
            self.assertEqual(1, host.running())

    def test_wrong_ones_are_named(self) -> None:
        self.libvirt.auth_conf[self.URI] = {
            libvirt.VIR_CRED_AUTHNAME: 'cinder',
            libvirt.VIR_CRED_PASSPHRASE: 'wrong'}
        self.assertIn('check the credentials for it in libvirt\'s auth.conf',
                      self.refused())

    def test_missing_ones_are_not_asked_for(self) -> None:
        self.libvirt.auth_conf[self.URI] = {
            libvirt.VIR_CRED_AUTHNAME: 'cinder'}
        self.assertIn('put them into libvirt\'s auth.conf', self.refused())

    def test_an_error_that_libvirt_cannot_name_is_the_hosts(self) -> None:
        # What libvirt 9.0 says of an authfile= that is not there.
        def openAuth(*args: object) -> None:
            raise hosts.error(libvirt.VIR_ERR_INTERNAL_ERROR, 'An error '
                              'occurred, but the cause is unknown')
        self.useFixture(fixtures.MonkeyPatch('libvirt.openAuth', openAuth))
        self.assertIn('check libvirt_uri', self.refused())


@ddt.ddt
class InstanceTest(base.GuestTestCase):

    def test_an_instance_of_another_host_is_not_found(self) -> None:
        with compute_host.Hypervisor(hosts.URI % base.HOST, 5) as host:
            self.assertRaises(exceptions.DomainNotFound, host.domain,
                              '8e034d89')

    def off(self, state: int, reason: int) -> exceptions.DomainNotRunning:
        self.domain.state_now, self.domain.reason = state, reason
        return self.assertRaises(exceptions.DomainNotRunning, self.connect)

    @ddt.data(libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN,
              libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN,
              libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED,
              libvirt.VIR_DOMAIN_SHUTOFF_FAILED,
              libvirt.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT)
    def test_one_that_was_shut_off_holds_nothing(self, reason: int) -> None:
        error = self.off(libvirt.VIR_DOMAIN_SHUTOFF, reason)
        self.assertTrue(error.shut_off)
        self.assertTrue(error.memory_gone)

    @ddt.data(libvirt.VIR_DOMAIN_SHUTOFF_CRASHED,
              libvirt.VIR_DOMAIN_SHUTOFF_DAEMON)
    def test_one_that_was_lost_was_not_shut_off(self, reason: int) -> None:
        error = self.off(libvirt.VIR_DOMAIN_SHUTOFF, reason)
        self.assertFalse(error.shut_off)
        self.assertTrue(error.memory_gone)
        self.assertIn('start it', str(error))

    @ddt.data((libvirt.VIR_DOMAIN_SHUTOFF,
               libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED),
              (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SAVED),
              # Of a libvirt that is yet to come.
              (libvirt.VIR_DOMAIN_SHUTOFF, 4711),
              (libvirt.VIR_DOMAIN_PAUSED, 0),
              (libvirt.VIR_DOMAIN_CRASHED, 0),
              (libvirt.VIR_DOMAIN_PMSUSPENDED, 0),
              (4711, 0))
    @ddt.unpack
    def test_another_may_hold_what_was_not_flushed(self, state: int,
                                                   reason: int) -> None:
        error = self.off(state, reason)
        self.assertFalse(error.shut_off)
        self.assertFalse(error.memory_gone)

    @ddt.data(*range(9))
    def test_a_saved_memory_holds_it_whatever_the_reason(self, reason: int
                                                         ) -> None:
        # A libvirt that was restarted has none.
        self.domain.saved = True
        error = self.off(libvirt.VIR_DOMAIN_SHUTOFF, reason)
        self.assertFalse(error.shut_off)
        self.assertFalse(error.memory_gone)
        self.assertIn('resume it', str(error))

    def test_a_connection_lost_on_the_way_is_the_hosts_fault(self) -> None:
        def lost() -> None:
            raise hosts.error(libvirt.VIR_ERR_SYSTEM_ERROR, 'Broken pipe')
        self.domain.state = lost
        self.assertRaises(exceptions.HostUnreachable, self.connect)
