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

"""A libvirt that wants a user and a password, as kolla-ansible sets it up."""

import uuid

import ddt
import fixtures

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.hypervisor import host as compute_host
from tests.functional import sasl_host
from tests.support import bounded

# Of one answer, seconds.
TIMEOUT = 30


@ddt.ddt
class Sasl(bounded.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.host = self.useFixture(sasl_host.SaslHost())
        self.uris = {
            'DIGEST-MD5': f'{self.host.uri}?auth=sasl.DIGEST-MD5',
            'SCRAM-SHA-256': self.host.tls_uri(self.host.folder)
            + '&auth=sasl.SCRAM-SHA-256'}

    def refused(self, uri: str) -> str:
        host = compute_host.Hypervisor(uri, TIMEOUT)
        return str(self.assertRaises(exceptions.HostUnreachable,
                                     host.__enter__))

    @ddt.data('DIGEST-MD5', 'SCRAM-SHA-256')
    def test_the_right_password_connects(self, mechanism: str) -> None:
        uri = f'{self.uris[mechanism]}&authfile={self.host.auth_conf()}'
        with compute_host.Hypervisor(uri, TIMEOUT) as host:
            self.assertEqual(0, host.running())
            self.assertRaises(exceptions.DomainNotFound, host.domain,
                              str(uuid.uuid4()))

    @ddt.data('DIGEST-MD5', 'SCRAM-SHA-256')
    def test_a_wrong_password_says_check_the_credentials(
            self, mechanism: str) -> None:
        wrong = self.host.auth_conf(password='wrong')
        self.assertIn('check the credentials for it',
                      self.refused(f'{self.uris[mechanism]}&authfile={wrong}'))

    @ddt.data('DIGEST-MD5', 'SCRAM-SHA-256')
    def test_missing_credentials_say_where_to_put_them(
            self, mechanism: str) -> None:
        folder = self.useFixture(fixtures.TempDir())
        self.useFixture(fixtures.EnvironmentVariable(
            'LIBVIRT_AUTH_FILE', folder.join('auth.conf')))
        with open(folder.join('auth.conf'), 'w'):
            pass
        self.assertIn('put them into libvirt\'s auth.conf',
                      self.refused(self.uris[mechanism]))

    def test_a_missing_file_of_credentials_says_check_the_uri(self) -> None:
        self.assertIn('check libvirt_uri', self.refused(
            f'{self.uris["DIGEST-MD5"]}&authfile=/nowhere/auth.conf'))
