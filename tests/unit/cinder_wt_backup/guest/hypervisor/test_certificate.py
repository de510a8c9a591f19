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

import os
import pathlib
import urllib.parse

import ddt
import fixtures

from cinder_wt_backup.guest.hypervisor import certificate
from tests.unit import base


def url(query: str = '') -> urllib.parse.SplitResult:
    return urllib.parse.urlsplit(f'qemu+tls://127.0.0.1:1/system{query}')


@ddt.ddt
class CertificateTest(base.TestCase):

    def test_nobody_to_look_at_is_not_known(self) -> None:
        self.assertEqual('', certificate.fault(url('?pkipath=/nowhere')))

    def test_what_openssl_has_no_code_for_is_not_known(self) -> None:
        self.assertEqual('', certificate._named(4711, 'compute1'))

    def test_a_clock_that_is_wrong_is_said(self) -> None:
        self.assertIn('clocks', certificate._named(certificate.NOT_YET, 'c1'))

    @ddt.data((0, False, certificate.OF_HOST), (0, True, certificate.OF_HOST),
              (1000, False, certificate.OF_HOST), (1000, True, 'own'))
    @ddt.unpack
    def test_its_authority_is_looked_for_where_libvirt_looks(
            self, user: int, has_own: bool, where: str) -> None:
        home = pathlib.Path(self.useFixture(fixtures.TempHomeDir()).path)
        own = home / '.pki' / 'libvirt' / 'cacert.pem'
        if has_own:
            own.parent.mkdir(parents=True)
            own.touch()
        self.useFixture(fixtures.MonkeyPatch('os.geteuid', lambda: user))
        self.assertEqual(os.fspath(own) if where == 'own' else where,
                         os.fspath(certificate._authority(url())))

    def test_or_where_the_uri_says(self) -> None:
        self.assertEqual('/etc/wt/cacert.pem', os.fspath(
            certificate._authority(url('?no_tty=1&pkipath=/etc/wt'))))
