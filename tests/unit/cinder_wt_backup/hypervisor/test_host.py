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

import subprocess
import sys

import ddt
import fixtures
import libvirt

from cinder_wt_backup import exceptions
from cinder_wt_backup.hypervisor import host as compute_host
from tests.unit import base
from tests.unit.fixtures import libvirt as hosts


class ConnectionTest(base.GuestTestCase):

    def connect_to(self, uri: str, timeout: float = 5) -> None:
        with compute_host.Hypervisor(uri, timeout):
            pass

    def test_a_connection_is_closed_again(self) -> None:
        self.connect_to(hosts.URI % base.HOST)
        self.assertEqual([hosts.URI % base.HOST], self.libvirt.opened)
        self.assertEqual([], self.libvirt.connected)

    def test_a_host_where_nobody_listens_is_not_asked(self) -> None:
        error = self.assertRaises(exceptions.HostUnreachable,
                                  self.connect_to, hosts.URI % 'compute9')
        self.assertIn('nothing listens', str(error))
        self.assertEqual([], self.libvirt.opened)

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

    def test_the_event_loop_is_started_by_the_first_connection(self) -> None:
        loops = []
        for name, value in (
                ('hypervisor.host._loop_started', False),
                ('native.run_forever', loops.append),
                *((f'hypervisor.host.libvirt.{name}', lambda *args: None)
                  for name in ('virEventRegisterDefaultImpl',
                               'virEventAddTimeout',
                               'registerErrorHandler'))):
            self.useFixture(fixtures.MonkeyPatch(
                f'cinder_wt_backup.{name}', value))
        compute_host.Hypervisor(hosts.URI % base.HOST, 5)
        self.assertEqual([], loops)
        self.connect_to(hosts.URI % base.HOST)
        self.connect_to(hosts.URI % base.HOST)
        self.assertEqual([libvirt.virEventRunDefaultImpl], loops)

    def test_the_event_loop_keeps_no_process_from_ending(self) -> None:
        # Cinder's eventlet waits for its native threads when it ends.
        program = ('import cinder.cmd.backup\n'
                   'from cinder_wt_backup.hypervisor import host\n'
                   'host._start_event_loop()\n'
                   'import time\n'
                   'time.sleep(0.2)')
        subprocess.run([sys.executable, '-W', 'ignore', '-c', program],
                       check=True, timeout=60)


@ddt.ddt
class InstanceTest(base.GuestTestCase):

    def test_an_instance_of_another_host_is_not_found(self) -> None:
        with compute_host.Hypervisor(hosts.URI % base.HOST, 5) as host:
            self.assertRaises(exceptions.DomainNotFound, host.domain,
                              '8e034d89')

    @ddt.data((libvirt.VIR_DOMAIN_SHUTOFF, 0, True),
              (libvirt.VIR_DOMAIN_SHUTOFF,
               libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED, False),
              (libvirt.VIR_DOMAIN_PAUSED, 0, False),
              (libvirt.VIR_DOMAIN_CRASHED, 0, False),
              (libvirt.VIR_DOMAIN_PMSUSPENDED, 0, False))
    @ddt.unpack
    def test_a_guest_that_does_not_run_is_told_apart(
            self, state: int, reason: int, shut_off: bool) -> None:
        self.domain.state_now, self.domain.reason = state, reason
        error = self.assertRaises(exceptions.DomainNotRunning, self.connect)
        self.assertEqual(shut_off, error.shut_off)

    def test_a_connection_lost_on_the_way_is_the_hosts_fault(self) -> None:
        def lost() -> None:
            raise hosts.error(libvirt.VIR_ERR_SYSTEM_ERROR, 'Broken pipe')
        self.domain.state = lost
        self.assertRaises(exceptions.HostUnreachable, self.connect)
