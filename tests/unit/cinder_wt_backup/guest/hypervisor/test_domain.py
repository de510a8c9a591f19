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

from __future__ import annotations

import ddt
import libvirt

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.hypervisor import description
from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import libvirt as hosts


@ddt.ddt
class ChannelTest(base.GuestTestCase):

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


@ddt.ddt
class DiskTest(base.GuestTestCase):

    def disk(self, volume: str = base.VOLUME, project: str = base.PROJECT,
             source: str | None = hosts.RBD % base.VOLUME) -> description.Disk:
        return self.connect().disk(volume, project, source)

    def test_the_volume_is_found_by_its_serial(self) -> None:
        self.domain.disks[0] = self.domain.disks[0].replace('ua-', 'virtio-')
        self.assertEqual(
            description.Disk(frozenset({base.VOLUME}), 'network', 'vdb',
                             '0000:00:04.0', hosts.RBD % base.VOLUME),
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

    def change(self, old: str, new: str) -> None:
        self.domain.disks[0] = self.domain.disks[0].replace(old, new)

    @ddt.data('writeback', 'none', 'writethrough', 'directsync', 'default')
    def test_a_disk_that_is_flushed_is_safe(self, cache: str) -> None:
        self.change("cache='writeback'", f"cache='{cache}'")
        self.assertEqual('', self.disk().unsafe)

    def test_a_disk_without_a_driver_is_safe(self) -> None:
        self.change('<driver ', '<elsewhere ')
        self.assertEqual('', self.disk().unsafe)

    @ddt.data(("cache='writeback'", "cache='unsafe'", 'disk_cachemodes'),
              ("cache='writeback'", "error_policy='ignore'", 'error_policy'),
              ('<serial>', '<transient/><serial>', 'transient'))
    @ddt.unpack
    def test_a_disk_that_keeps_nothing_is_not(self, old: str, new: str,
                                              reason: str) -> None:
        self.change(old, new)
        self.assertIn(reason, self.disk().unsafe)

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
        self.assertIn('a ?[2Jb', str(error))
        self.assertLess(len(str(error)), 700)

    def test_a_guest_that_stopped_meanwhile_is_not_exempt(self) -> None:
        self.fail(libvirt.VIR_ERR_OPERATION_INVALID)
        error = self.assertRaises(exceptions.DomainNotRunning, self.ping)
        self.assertFalse(error.shut_off)

    def test_the_agents_own_error_is_passed_on(self) -> None:
        self.domain.agent.blocked.add(fake.FSINFO)
        error = self.assertRaises(exceptions.AgentRefused, self.agent().mounts)
        self.assertIn('guest-get-fsinfo has been disabled', str(error))
