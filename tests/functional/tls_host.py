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

"""A compute host whose libvirt wants a certificate: TLS."""

import datetime
import pathlib
from unittest import mock

import libvirt

from tests.functional import authority
from tests.support.cloud import layout
from tests.support.machines import second_host

_TLS = """
tls_port = "{port}"
auth_tls = "{auth}"
key_file = "{folder}/serverkey.pem"
cert_file = "{folder}/servercert.pem"
ca_file = "{folder}/cacert.pem"
tls_no_sanity_certificate = 1
"""


class TlsHost(second_host.SecondHost):
    """A libvirtd with a certificate for the loopback's address.

    :cvar auth_tls: what it wants to know besides a certificate
    :ivar tls_port: where it listens with TLS
    :ivar authority: whose certificates it takes
    :param ends: when its own ends, from now
    """

    tls = 1
    auth_tls = 'none'

    def __init__(self, ends: datetime.timedelta = authority.DAY) -> None:
        super().__init__()
        self._ends = ends

    def _more(self, folder: pathlib.Path) -> str:
        self.tls_port = second_host.free_port()
        self.authority = authority.Authority()
        self.authority.introduce(folder)
        self.authority.certify(folder, 'server', self._ends)
        return _TLS.format(port=self.tls_port, folder=folder,
                           auth=self.auth_tls)

    def tls_uri(self, pki: pathlib.Path, name: str = layout.ADDRESS) -> str:
        """Return the URI of it.

        :param pki: where the client's certificates are
        :param name: what it is called
        """
        return f'qemu+tls://{name}:{self.tls_port}/system?pkipath={pki}'


class AclHost(TlsHost):
    """One whose libvirtd has polkit judge each call of each caller."""

    def _more(self, folder: pathlib.Path) -> str:
        return super()._more(folder) + 'access_drivers = ["polkit"]\n'

    def connect(self) -> libvirt.virConnect:
        """Return what is to be closed: nobody is let in."""
        try:
            return super().connect()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_ACCESS_DENIED:
                raise
        return mock.MagicMock()
