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

"""What to do where a compute host's libvirt is not to be had.

Errors are told apart by libvirt's code, and by the system's that it has with
some. Words are looked at where it has the same codes for different things:
all that ssh says arrives as a pipe that is closed.
"""

from __future__ import annotations

import errno
import urllib.parse

import libvirt

from cinder_wt_backup.guest.hypervisor import certificate
from cinder_wt_backup import plain

OTHERWISE = 'check libvirt_uri, libvirt_hosts and the credentials'
GONE = ('the connection is lost: look at libvirtd there and at the network '
        'between')
NO_CREDENTIALS = (
    'it wants a user and a password: put them into libvirt\'s auth.conf on '
    'this host, where this user can read it, as the page on installing shows')
WRONG_CREDENTIALS = (
    'check the credentials for it in libvirt\'s auth.conf, and that SASL\'s '
    'mechanism is installed on this host')
NOBODY = ('nothing listens there: check libvirt_uri and libvirt_hosts, and '
          'libvirtd there, or sshd where libvirt_uri has ssh')
AWAY = ('that host is not to be reached: check that it is up, its address in '
        'libvirt_hosts, and the network and firewalls between')
NO_SUCH_NAME = ('its name does not resolve on this host: put it into DNS or '
                '/etc/hosts, or the host\'s address into libvirt_hosts')
NO_ACCESS = ('access_drivers is set in its libvirtd.conf, and libvirt\'s '
             'polkit ACL knows nobody who comes over TCP or TLS: use ssh, or '
             'no access driver there')
NO_RULE = ('have a polkit rule there permit to the login in libvirt_uri what '
           'the page on installing names')
NO_PORT = ('what listens there does not speak libvirt\'s TLS: check the port '
           'and the transport in libvirt_uri')
NOT_TAKEN = ('it does not take the certificate of this host: have '
             'clientcert.pem and clientkey.pem here signed by an authority '
             'that its cacert.pem has, valid, and on its tls_allowed_dn_list '
             'if it has one')
NOT_THERE = ('put cacert.pem, clientcert.pem and clientkey.pem where this '
             'user can read them: /etc/pki/CA and /etc/pki/libvirt, or what '
             'pkipath in libvirt_uri names')
NOT_VALID = 'replace that certificate on this host'
NOT_VERIFIED = ('look at its certificate with "openssl s_client": it has to '
                'be valid, of an authority in cacert.pem here, and to have '
                'the name in the URI')
HOST_KEY = ('ssh on this host does not know its host key, or knows another '
            'one: compare the key with that host\'s, and put it into '
            'known_hosts of this user')
LOGIN_KEY = ('its sshd does not take this user\'s key: put the public one '
             'into authorized_keys of the login that libvirt_uri names, and '
             'let this user read the private one')
NO_HELPER = ('the login there finds neither virt-ssh-helper nor nc: install '
             'libvirt-daemon there, or netcat')
NO_SOCKET = ('its libvirtd does not run, or does not let that login in: start '
             'it, and have the login in the group of its socket (libvirt)')
NO_SSH = ('try "ssh LOGIN@HOST virt-ssh-helper qemu:///system" as the user '
          'of cinder-backup: it has to connect without a question')

# First what ssh says of itself (OpenSSH, libssh and libssh2 in this order),
# in lower case: none of them translates it.
_OF_SSH = (
    ('failed to connect socket', NO_SOCKET),
    ('host key', HOST_KEY),
    ('permission denied (', LOGIN_KEY),
    ('access denied', LOGIN_KEY),
    ('private key', LOGIN_KEY),
    ('could not resolve', NO_SUCH_NAME),
    ('connection refused', NOBODY),
    ('connection timed out', AWAY),
    ('no route to host', AWAY),
    ('network is unreachable', AWAY),
    ('not found', NO_HELPER),
)
_BY_SYSTEM = {
    errno.ECONNREFUSED: NOBODY,
    errno.EHOSTUNREACH: AWAY,
    errno.ENETUNREACH: AWAY,
    errno.ETIMEDOUT: AWAY,
}
# TLS 1.3 has the client's certificate looked at when the client is done: what
# it sees is a connection that ends.
_ENDED = (errno.EIO, errno.ECONNRESET, errno.EPIPE)


def refused(uri: str, error: libvirt.libvirtError, asked: bool) -> str:
    """Return why a host could not be connected to, and what to do about it.

    :param asked: for credentials that auth.conf does not have
    """
    url = urllib.parse.urlsplit(uri)
    return _sentence(uri, error, _denied(url, error) or _by_system(error)
                     or _by_transport(url, error, asked))


def lost(uri: str, error: libvirt.libvirtError) -> str:
    """Return why a connection is no longer of use, and what to do about it."""
    ended = error.get_error_code() in (
        libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_NO_CONNECT)
    return _sentence(uri, error, _denied(urllib.parse.urlsplit(uri), error)
                     or (GONE if ended else OTHERWISE))


def _sentence(uri: str, error: libvirt.libvirtError, remedy: str) -> str:
    # ssh's last line is the one that says what it came to.
    said = str(error).strip().rpartition('\n')[2]
    return f'libvirt at {uri}: {plain.text(said)}; {remedy}'


def _denied(url: urllib.parse.SplitResult, error: libvirt.libvirtError) -> str:
    if error.get_error_code() != libvirt.VIR_ERR_ACCESS_DENIED:
        return ''
    return NO_ACCESS if _transport(url) in ('tcp', 'tls') else NO_RULE


def _by_transport(url: urllib.parse.SplitResult, error: libvirt.libvirtError,
                  asked: bool) -> str:
    if _transport(url) in ('ssh', 'libssh', 'libssh2'):
        return _of_ssh(error)
    if asked:
        return NO_CREDENTIALS
    found = _of_tls(url, error) if _transport(url) == 'tls' else ''
    if not found and error.get_error_code() == libvirt.VIR_ERR_AUTH_FAILED:
        return WRONG_CREDENTIALS
    return found or OTHERWISE


def _transport(url: urllib.parse.SplitResult) -> str:
    return url.scheme.partition('+')[2]


def _by_system(error: libvirt.libvirtError) -> str:
    if error.get_error_code() != libvirt.VIR_ERR_SYSTEM_ERROR:
        return ''
    # getaddrinfo has codes of its own, which libvirt does not pass on.
    if 'resolve address' in str(error):
        return NO_SUCH_NAME
    return _BY_SYSTEM.get(error.get_int1(), '')


def _of_ssh(error: libvirt.libvirtError) -> str:
    said = str(error).lower()
    return next((remedy for words, remedy in _OF_SSH if words in said), NO_SSH)


def _of_tls(url: urllib.parse.SplitResult, error: libvirt.libvirtError
            ) -> str:
    code, system = error.get_error_code(), error.get_int1()
    if code == libvirt.VIR_ERR_AUTH_FAILED:
        # SASL over TLS fails with the same codes.
        if 'peer\'s certificate' in str(error):
            return certificate.fault(url) or NOT_VERIFIED
        return NO_PORT if 'handshake' in str(error) else ''
    if code != libvirt.VIR_ERR_SYSTEM_ERROR:
        return ''
    if system in _ENDED:
        return NOT_TAKEN
    if system in (errno.ENOENT, errno.EACCES):
        return NOT_THERE
    return NOT_VALID if 'certificate' in str(error).lower() else ''
