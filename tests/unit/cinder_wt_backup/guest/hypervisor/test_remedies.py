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

import errno

import ddt
import libvirt

from cinder_wt_backup.guest.hypervisor import remedies
from tests.unit import base
from tests.unit.fixtures import libvirt as hosts

TCP, TLS, SSH = (f'qemu+{name}://compute1/system'
                 for name in ('tcp', 'tls', 'ssh'))
SYSTEM, AUTH = libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_AUTH_FAILED
# As libvirt 9.0 says it.
PIPE = 'Cannot recv data: {}: Connection reset by peer'
ENDED = 'Unable to read TLS confirmation: Input/output error'


@ddt.ddt
class RefusedTest(base.TestCase):

    def refused(self, uri: str, code: int, said: str, system: int = -1,
                asked: bool = False) -> str:
        return remedies.refused(uri, hosts.error(
            code, said, libvirt.VIR_FROM_RPC, system), asked)

    @ddt.data((errno.ECONNREFUSED, remedies.NOBODY),
              (errno.EHOSTUNREACH, remedies.AWAY),
              (errno.ENETUNREACH, remedies.AWAY),
              (errno.ETIMEDOUT, remedies.AWAY))
    @ddt.unpack
    def test_who_is_not_there_is_told_by_the_systems_code(
            self, system: int, remedy: str) -> None:
        for uri in (TCP, TLS):
            self.assertEqual(f'libvirt at {uri}: no; {remedy}',
                             self.refused(uri, SYSTEM, 'no', system))

    def test_a_name_that_does_not_resolve_is_told_by_words(self) -> None:
        self.assertIn(remedies.NO_SUCH_NAME, self.refused(
            TLS, SYSTEM, 'Unable to resolve address \'compute1\' service '
            '\'16514\': Name or service not known'))

    @ddt.data(errno.EIO, errno.ECONNRESET, errno.EPIPE)
    def test_tls_that_ends_at_once_is_about_our_certificate(
            self, system: int) -> None:
        self.assertIn(remedies.NOT_TAKEN,
                      self.refused(TLS, SYSTEM, ENDED, system))
        self.assertIn(remedies.OTHERWISE,
                      self.refused(TCP, SYSTEM, ENDED, system))

    @ddt.data(errno.ENOENT, errno.EACCES)
    def test_files_that_cannot_be_read_are_ours(self, system: int) -> None:
        self.assertIn(remedies.NOT_THERE, self.refused(
            TLS, SYSTEM, 'Cannot read CA certificate', system))

    def test_a_certificate_of_ours_that_is_not_valid_is_named(self) -> None:
        self.assertIn('/c.pem has expired; ' + remedies.NOT_VALID,
                      self.refused(TLS, SYSTEM, 'The client certificate '
                                   '/c.pem has expired'))

    def test_a_wrong_password_is_not_taken_for_a_certificate(self) -> None:
        self.assertIn(remedies.WRONG_CREDENTIALS, self.refused(
            TLS, AUTH, 'authentication failed: authentication failed'))

    def test_who_does_not_speak_tls_is_told(self) -> None:
        self.assertIn(remedies.NO_PORT, self.refused(
            TLS, AUTH, 'authentication failed: TLS handshake failed Error '
            'in the pull function.'))

    def test_a_certificate_that_cannot_be_looked_at_is_told(self) -> None:
        self.assertIn(remedies.NOT_VERIFIED, self.refused(
            'qemu+tls://compute1.invalid/system?pkipath=/nowhere', AUTH,
            'authentication failed: Failed to verify peer\'s certificate'))

    @ddt.data(('Host key verification failed.', remedies.HOST_KEY),
              ('u@c: Permission denied (publickey).', remedies.LOGIN_KEY),
              ('ssh: connect to host c port 22: Connection refused',
               remedies.NOBODY),
              ('ssh: connect to host c port 22: Connection timed out',
               remedies.AWAY),
              ('ssh: Could not resolve hostname c: Name or service not known',
               remedies.NO_SUCH_NAME),
              ('sh: 1: nc: not found', remedies.NO_HELPER),
              ('Failed to connect socket to \'/run/libvirt/libvirt-sock\': '
               'Permission denied', remedies.NO_SOCKET),
              ('who knows', remedies.NO_SSH))
    @ddt.unpack
    def test_what_ssh_says_is_told_by_words(self, words: str,
                                            remedy: str) -> None:
        said = self.refused(SSH, SYSTEM, PIPE.format(words),
                            errno.ECONNRESET)
        self.assertTrue(said.endswith(remedy), said)

    def test_of_all_that_ssh_says_the_last_line_is_said(self) -> None:
        banner = '@@@@\nIT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!'
        said = self.refused(SSH, SYSTEM, PIPE.format(
            f'{banner}\nHost key verification failed.'), errno.ECONNRESET)
        self.assertNotIn('NASTY', said)
        self.assertIn('Host key verification failed.', said)

    @ddt.data(('authentication failed: !!! SSH HOST KEY VERIFICATION FAILED',
               AUTH, remedies.HOST_KEY),
              ('libssh transport error: no suitable callback for host key '
               'verification', libvirt.VIR_ERR_LIBSSH, remedies.HOST_KEY),
              ('libssh transport error: failed to authenticate: Access denied '
               'for \'publickey\'', libvirt.VIR_ERR_LIBSSH,
               remedies.LOGIN_KEY),
              ('authentication failed: error while reading private key '
               '\'/k\'', AUTH, remedies.LOGIN_KEY))
    @ddt.unpack
    def test_what_libssh_says_too(self, said: str, code: int,
                                  remedy: str) -> None:
        uri = SSH.replace('ssh', 'libssh')
        self.assertIn(remedy, self.refused(uri, code, said, asked=True))

    @ddt.data((TCP, remedies.NO_ACCESS), (TLS, remedies.NO_ACCESS),
              (SSH, remedies.NO_RULE), ('qemu:///system', remedies.NO_RULE))
    @ddt.unpack
    def test_an_acl_knows_local_callers_alone(self, uri: str,
                                              remedy: str) -> None:
        self.assertIn(remedy, self.refused(
            uri, libvirt.VIR_ERR_ACCESS_DENIED,
            'access denied: \'QEMU\' denied access'))


@ddt.ddt
class LostTest(base.TestCase):

    @ddt.data(TCP, TLS, SSH)
    def test_it_says_nothing_of_certificates_and_keys(self, uri: str) -> None:
        self.assertTrue(remedies.lost(uri, hosts.error(
            SYSTEM, 'End of file while reading data: Input/output error',
            libvirt.VIR_FROM_RPC, errno.EIO)).endswith(remedies.GONE))

    def test_a_call_that_is_not_permitted_has_a_rules_remedy(self) -> None:
        self.assertIn(remedies.NO_RULE, remedies.lost(SSH, hosts.error(
            libvirt.VIR_ERR_ACCESS_DENIED, 'access denied')))

    def test_any_other_says_what_to_check(self) -> None:
        self.assertIn(remedies.OTHERWISE, remedies.lost(TLS, hosts.error(
            libvirt.VIR_ERR_OPERATION_DENIED, 'operation denied')))
