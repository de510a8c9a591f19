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

"""A libvirt that is reached over ssh, with a login of its own."""

import ddt

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.hypervisor import host as compute_host
from tests.functional import ssh_host
from tests.support import bounded
from tests.support.machines import second_host

# Of one answer, seconds.
TIMEOUT = 30


class SshTestCase(bounded.TestCase):

    def refused(self, uri: str) -> str:
        host = compute_host.Hypervisor(uri, TIMEOUT)
        return str(self.assertRaises(exceptions.HostUnreachable,
                                     host.__enter__))


@ddt.ddt
class Ssh(SshTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.host = self.useFixture(ssh_host.SshHost())

    @ddt.data(*ssh_host.TRANSPORTS)
    def test_the_right_key_connects(self, transport: str) -> None:
        with compute_host.Hypervisor(self.host.ssh_uri(transport),
                                     TIMEOUT) as host:
            self.assertEqual(0, host.running())

    @ddt.data(*ssh_host.TRANSPORTS)
    def test_a_host_key_that_is_not_known_is_said(self, transport: str
                                                  ) -> None:
        self.host.know(None)
        self.assertIn('ssh on this host does not know its host key',
                      self.refused(self.host.ssh_uri(transport)))

    @ddt.data(*ssh_host.TRANSPORTS)
    def test_another_host_key_is_said(self, transport: str) -> None:
        self.host.know(self.host.make_key('another'))
        said = self.refused(self.host.ssh_uri(transport))
        self.assertIn('or knows another one: compare the key', said)
        self.assertLess(len(said), 1000)

    @ddt.data(*ssh_host.TRANSPORTS)
    def test_a_key_that_is_refused_is_said(self, transport: str) -> None:
        self.assertIn('its sshd does not take this user\'s key', self.refused(
            self.host.ssh_uri(transport, self.host.make_key('another'))))

    @ddt.data(*ssh_host.TRANSPORTS)
    def test_a_name_that_does_not_resolve_is_said(self, transport: str
                                                  ) -> None:
        self.assertIn('its name does not resolve', self.refused(
            self.host.ssh_uri(transport, name='compute1.invalid')))

    @ddt.data(*ssh_host.TRANSPORTS)
    def test_nobody_at_the_port_is_said(self, transport: str) -> None:
        self.assertIn('nothing listens there', self.refused(
            self.host.ssh_uri(transport).replace(
                str(self.host.ssh_port), str(second_host.free_port()))))


class SshWithoutGroup(SshTestCase):

    def test_a_login_that_libvirtd_does_not_let_in_is_said(self) -> None:
        host = ssh_host.SshHost()
        host.group = 'root'
        self.useFixture(host)
        self.assertIn('have the login in the group of its socket',
                      self.refused(host.ssh_uri('ssh')))
