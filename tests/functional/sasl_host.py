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

"""A compute host whose libvirt wants a user and a password: SASL."""

import pathlib
import subprocess

import libvirt

from tests.functional import tls_host

USER, PASSWORD = 'cinder', 'right'
# The second needs TLS: over TCP libvirt offers what encrypts, no other.
MECHANISMS = 'DIGEST-MD5 SCRAM-SHA-256'
_SASL = """
mech_list: {mechanisms}
sasldb_path: {folder}/users
"""
_AUTH_CONF = """
[credentials-cinder]
authname={user}
password={password}

[auth-libvirt-default]
credentials=cinder
"""


class SaslHost(tls_host.TlsHost):
    """A libvirtd that has one user, over TCP and TLS."""

    auth = auth_tls = 'sasl'

    def _more(self, folder: pathlib.Path) -> str:
        (folder / 'libvirt.conf').write_text(
            _SASL.format(mechanisms=MECHANISMS, folder=folder))
        subprocess.run(
            ['saslpasswd2', '-p', '-c', '-a', 'libvirt', '-u', 'wt-second',
             '-f', str(folder / 'users'), USER],
            input=PASSWORD, text=True, check=True)
        more = super()._more(folder)
        self.authority.certify(folder, 'client')
        return more

    def connect(self) -> libvirt.virConnect:
        """Return a connection, past the plugin."""
        return libvirt.openAuth(
            f'{self.uri}?authfile={self.auth_conf()}',
            [[libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE],
             lambda *_: -1, None], 0)

    def auth_conf(self, user: str = USER,
                  password: str = PASSWORD) -> pathlib.Path:
        """Return an auth.conf of libvirt's with these credentials for it."""
        path = self.folder / f'auth-{user}-{password}.conf'
        path.write_text(_AUTH_CONF.format(
            user=user, password=password))
        return path
