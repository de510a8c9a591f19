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
from cinder_wt_backup import hypervisor
from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import libvirt as hosts


class ConnectionTest(base.GuestTestCase):

    def connect_to(self, uri: str, timeout: float = 5) -> None:
        with hypervisor.Hypervisor(uri, timeout):
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
        with hypervisor.Hypervisor(hosts.URI % base.HOST, 5) as host:
            self.assertEqual(1, host.running())

    def test_the_event_loop_is_started_by_the_first_connection(self) -> None:
        loops = []
        for name, value in (
                ('hypervisor._loop_started', False),
                ('native.run_forever', loops.append),
                *((f'hypervisor.libvirt.{name}', lambda *args: None)
                  for name in ('virEventRegisterDefaultImpl',
                               'virEventAddTimeout',
                               'registerErrorHandler'))):
            self.useFixture(fixtures.MonkeyPatch(
                f'cinder_wt_backup.{name}', value))
        hypervisor.Hypervisor(hosts.URI % base.HOST, 5)
        self.assertEqual([], loops)
        self.connect_to(hosts.URI % base.HOST)
        self.connect_to(hosts.URI % base.HOST)
        self.assertEqual([libvirt.virEventRunDefaultImpl], loops)

    def test_the_event_loop_keeps_no_process_from_ending(self) -> None:
        # Cinder's eventlet waits for its native threads when it ends.
        program = ('import cinder.cmd.backup\n'
                   'from cinder_wt_backup import hypervisor\n'
                   'hypervisor._start_event_loop()\n'
                   'import time\n'
                   'time.sleep(0.2)')
        subprocess.run([sys.executable, '-W', 'ignore', '-c', program],
                       check=True, timeout=60)


@ddt.ddt
class DomainTest(base.GuestTestCase):

    def test_an_instance_of_another_host_is_not_found(self) -> None:
        with hypervisor.Hypervisor(hosts.URI % base.HOST, 5) as host:
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

    @ddt.data(('', 'has no guest agent channel'),
              ('disconnected', 'no guest agent runs'))
    @ddt.unpack
    def test_an_agent_that_is_not_there_is_not_asked(self, state: str,
                                                     words: str) -> None:
        self.domain.channel = state
        error = self.assertRaises(exceptions.AgentUnavailable,
                                  self.connect().check_agent_channel)
        self.assertIn(words, str(error))
        self.assertEqual([], self.domain.agent.commands)

    @ddt.data('connected', 'unknown')
    def test_an_agent_that_may_be_there_is(self, state: str) -> None:
        self.domain.channel = state
        self.connect().check_agent_channel()


class DiskTest(base.GuestTestCase):

    def disk(self, volume: str = base.VOLUME, project: str = base.PROJECT,
             source: str | None = hosts.RBD % base.VOLUME) -> hypervisor.Disk:
        return self.connect().disk(volume, project, source)

    def test_the_volume_is_found_by_its_serial(self) -> None:
        self.domain.disks[0] = self.domain.disks[0].replace('ua-', 'virtio-')
        self.assertEqual(
            hypervisor.Disk('vdb', '0000:00:04.0', hosts.RBD % base.VOLUME),
            self.disk())

    def test_the_volume_is_found_by_its_alias(self) -> None:
        self.domain.disks[0] = self.domain.disks[0].replace(
            f'<serial>{base.VOLUME}</serial>', '')
        self.assertEqual('vdb', self.disk().target)

    def test_an_instance_without_the_volume_is_not_touched(self) -> None:
        self.assertRaises(exceptions.DomainNotFound, self.disk, 'b4982750')

    def test_another_projects_instance_is_not_touched(self) -> None:
        self.domain.project = '07f449d8'
        error = self.assertRaises(exceptions.DomainNotFound, self.disk)
        self.assertIn('not of the volume\'s project', str(error))

    def test_another_source_is_not_touched(self) -> None:
        error = self.assertRaises(exceptions.DomainNotFound, self.disk,
                                  source='volumes/volume-b4982750')
        self.assertIn('not from volumes/volume-b4982750', str(error))

    def test_a_source_that_cinder_does_not_know_is_not_compared(self
                                                                ) -> None:
        self.assertEqual(hosts.RBD % base.VOLUME,
                         self.disk(source=None).source)

    def test_a_disk_on_a_scsi_bus_has_no_pci_address(self) -> None:
        self.domain.disks[0] = self.domain.disks[0].replace(
            "type='pci' domain='0x0000' bus='0x00' slot='0x04'",
            "type='drive' controller='0' bus='0' target='0' unit='1'"
        ).replace("function='0x0'", '')
        self.assertIsNone(self.disk().address)


@ddt.ddt
class AgentCommandTest(base.GuestTestCase):

    def fail(self, code: int, domain: int = 0, text: str = 'no luck') -> None:
        def answer() -> None:
            raise hosts.error(code, text, domain)
        self.domain.agent.answers['guest-ping'] = answer

    def ping(self) -> str:
        return self.connect().agent_command('{"execute": "guest-ping"}', 5)

    @ddt.data(
        (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, exceptions.AgentUnavailable),
        (libvirt.VIR_ERR_AGENT_UNSYNCED, exceptions.AgentUnavailable),
        (libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, exceptions.AgentUnavailable),
        (libvirt.VIR_ERR_OPERATION_INVALID, exceptions.DomainNotRunning),
        (libvirt.VIR_ERR_NO_DOMAIN, exceptions.DomainNotRunning),
        (libvirt.VIR_ERR_INTERNAL_ERROR, exceptions.AgentError),
        (libvirt.VIR_ERR_NO_CONNECT, exceptions.HostUnreachable))
    @ddt.unpack
    def test_libvirts_errors_become_ours(self, code: int, kind: type) -> None:
        self.fail(code)
        error = self.assertRaises(exceptions.WriteThroughError, self.ping)
        self.assertIs(kind, type(error))

    @ddt.data((libvirt.VIR_ERR_RPC, libvirt.VIR_FROM_RPC),
              (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_QEMU))
    @ddt.unpack
    def test_an_answer_too_large_for_libvirt_is_the_agents_fault(
            self, code: int, domain: int) -> None:
        self.fail(code, domain)
        error = self.assertRaises(exceptions.WriteThroughError, self.ping)
        self.assertIs(exceptions.AgentError, type(error))

    def test_a_connection_lost_meanwhile_is_the_hosts_fault(self) -> None:
        def answer() -> None:
            self.libvirt.domains.clear()
            raise hosts.error(libvirt.VIR_ERR_RPC, 'socket is closed')
        self.domain.agent.answers['guest-ping'] = answer
        self.assertRaises(exceptions.HostUnreachable, self.ping)

    @ddt.data(SystemError('returned a result with an exception set'),
              UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'invalid'))
    def test_what_is_not_utf_8_is_the_agents_fault(self, error: Exception
                                                   ) -> None:
        def answer() -> None:
            raise error
        self.domain.agent.answers['guest-ping'] = answer
        self.assertRaises(exceptions.AgentError, self.ping)

    def test_an_agents_error_is_one_line_of_a_log(self) -> None:
        self.fail(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_QEMU,
                  'a\n\x1b[2Jb' + 'x' * 9999)
        error = self.assertRaises(exceptions.AgentError, self.ping)
        self.assertIn('a??[2Jb', str(error))
        self.assertLess(len(str(error)), 700)

    def test_a_guest_that_stopped_meanwhile_is_not_exempt(self) -> None:
        self.fail(libvirt.VIR_ERR_OPERATION_INVALID)
        error = self.assertRaises(exceptions.DomainNotRunning, self.ping)
        self.assertFalse(error.shut_off)

    def test_the_agents_own_error_is_passed_on(self) -> None:
        self.domain.agent.blocked.add(fake.FSINFO)
        error = self.assertRaises(exceptions.AgentError, self.agent().mounts)
        self.assertIn('guest-get-fsinfo has been disabled', str(error))
