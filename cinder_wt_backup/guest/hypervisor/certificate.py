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

"""What is wrong with a compute host's certificate.

libvirt says that it does not take one, and keeps to itself why.
"""

from __future__ import annotations

import os
import pathlib
import socket
import ssl
import urllib.parse

PORT = 16514
# Seconds: it has answered libvirt a moment ago.
LIMIT = 3
# Where libvirt looks for the authority's, if the URI has no pkipath.
OF_USER = '~/.pki/libvirt/cacert.pem'
OF_HOST = '/etc/pki/CA/cacert.pem'
# OpenSSL's codes (X509_V_ERR_...) of what an operator can do something about.
NOT_YET, EXPIRED = 9, 10
UNKNOWN_AUTHORITY = (18, 19, 20, 21)
OTHER_NAME, OTHER_ADDRESS = 62, 64


def fault(url: urllib.parse.SplitResult) -> str:
    """Return what is wrong with it and what to do; empty: it is not known.

    Nothing is sent that only the right host may see: the connection ends
    with the handshake, without a certificate or a password of ours.

    :param url: libvirt's URI of the host
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(_authority(url))
        with socket.create_connection(
                (url.hostname or '', url.port or PORT), LIMIT) as connection:
            context.wrap_socket(connection,
                                server_hostname=url.hostname).close()
    except ssl.SSLCertVerificationError as error:
        return _named(error.verify_code, url.hostname)
    except (OSError, ValueError):
        # Whatever else there is, libvirt has said it.
        pass
    return ''


def _authority(url: urllib.parse.SplitResult) -> pathlib.Path:
    """Return where the certificate is that the host's has to be signed by."""
    for folder in urllib.parse.parse_qs(url.query).get('pkipath', []):
        return pathlib.Path(folder, 'cacert.pem')
    own = pathlib.Path(OF_USER).expanduser()
    # Root's own are not looked at by libvirt.
    return own if os.geteuid() and own.exists() else pathlib.Path(OF_HOST)


def _named(code: int, name: str | None) -> str:
    if code == EXPIRED:
        return 'its certificate has expired: renew it there'
    if code == NOT_YET:
        return ('its certificate is not valid yet: compare the clocks of both '
                'hosts')
    if code in UNKNOWN_AUTHORITY:
        return ('its certificate is of an authority that cacert.pem on this '
                'host does not have: install that of its authority here')
    if code in (OTHER_NAME, OTHER_ADDRESS):
        return (f'its certificate does not have the name {name}, and libvirt '
                f'compares no other one than the URI\'s: put a name that it '
                f'has, and that this host resolves, into libvirt_hosts as '
                f'"HOST:NAME"')
    return ''
