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

"""A libvirt that is reached with TLS and certificates of both sides."""

import pathlib

import ddt
import fixtures

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.hypervisor import host as compute_host
from tests.functional import authority
from tests.functional import tls_host
from tests.support import bounded
from tests.support.machines import second_host

# Of one answer, seconds.
TIMEOUT = 30


class TlsTestCase(bounded.TestCase):

    def certificates(self) -> pathlib.Path:
        """Return a client's folder without any."""
        return pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def right(self, host: tls_host.TlsHost) -> pathlib.Path:
        """Return a client's folder as the host wants it."""
        folder = self.certificates()
        host.authority.introduce(folder)
        host.authority.certify(folder, 'client')
        return folder

    def refused(self, uri: str) -> str:
        host = compute_host.Hypervisor(uri, TIMEOUT)
        return str(self.assertRaises(exceptions.HostUnreachable,
                                     host.__enter__))


@ddt.ddt
class Tls(TlsTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.host = self.useFixture(tls_host.TlsHost())
        self.other = authority.Authority('another')

    def test_the_right_certificates_connect(self) -> None:
        uri = self.host.tls_uri(self.right(self.host))
        with compute_host.Hypervisor(uri, TIMEOUT) as host:
            self.assertEqual(0, host.running())

    def test_a_name_that_its_certificate_does_not_have_is_said(self) -> None:
        said = self.refused(self.host.tls_uri(self.right(self.host),
                                              'localhost'))
        self.assertIn('its certificate does not have the name localhost', said)
        self.assertIn('into libvirt_hosts', said)

    def test_an_authority_that_is_not_known_here_is_said(self) -> None:
        folder = self.certificates()
        self.other.introduce(folder)
        self.other.certify(folder, 'client')
        self.assertIn('its certificate is of an authority that cacert.pem on '
                      'this host does not have',
                      self.refused(self.host.tls_uri(folder)))

    def test_a_certificate_of_ours_that_is_missing_is_said(self) -> None:
        folder = self.certificates()
        self.host.authority.introduce(folder)
        self.assertIn('it does not take the certificate of this host',
                      self.refused(self.host.tls_uri(folder)))

    # libvirt's client looks at its own first, if it is not told not to.
    @ddt.data(('', 'replace that certificate on this host'),
              ('&no_sanity=1', 'it does not take the certificate of this'))
    @ddt.unpack
    def test_one_of_ours_of_another_authority_is_said(
            self, parameter: str, words: str) -> None:
        folder = self.certificates()
        self.host.authority.introduce(folder)
        self.other.certify(folder, 'client')
        self.assertIn(words,
                      self.refused(self.host.tls_uri(folder) + parameter))

    def test_one_of_ours_that_has_expired_is_said(self) -> None:
        folder = self.right(self.host)
        self.host.authority.certify(folder, 'client', -authority.DAY)
        said = self.refused(self.host.tls_uri(folder))
        self.assertIn(f'{folder}/clientcert.pem has expired; replace', said)

    def test_where_to_put_those_that_are_not_there_is_said(self) -> None:
        self.assertIn('put cacert.pem, clientcert.pem and clientkey.pem where',
                      self.refused(self.host.tls_uri(self.certificates())))

    def test_a_port_without_tls_is_said(self) -> None:
        port = self.host.uri.rpartition(':')[2].partition('/')[0]
        uri = self.host.tls_uri(self.right(self.host))
        self.assertIn('does not speak libvirt\'s TLS', self.refused(
            uri.replace(str(self.host.tls_port), port)))

    def test_a_name_that_does_not_resolve_is_said(self) -> None:
        uri = self.host.tls_uri(self.right(self.host), 'compute1.invalid')
        self.assertIn('its name does not resolve', self.refused(uri))

    def test_nobody_at_the_port_is_said(self) -> None:
        uri = self.host.tls_uri(self.right(self.host))
        self.assertIn('nothing listens there', self.refused(uri.replace(
            str(self.host.tls_port), str(second_host.free_port()))))


class ExpiredTls(TlsTestCase):

    def test_a_certificate_of_its_own_that_has_expired_is_said(self) -> None:
        host = self.useFixture(tls_host.TlsHost(-authority.DAY))
        self.assertIn('its certificate has expired: renew it there',
                      self.refused(host.tls_uri(self.right(host))))


class Acl(TlsTestCase):

    def test_over_a_network_its_polkit_acl_lets_nobody_in(self) -> None:
        host = self.useFixture(tls_host.AclHost())
        for uri in (host.uri, host.tls_uri(self.right(host))):
            self.assertIn('knows nobody who comes over TCP or TLS: use ssh',
                          self.refused(uri))
