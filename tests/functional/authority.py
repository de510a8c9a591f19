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

"""A certificate authority of our own, for TLS on the loopback."""

import datetime
import ipaddress
import pathlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography import x509

from tests.support.cloud import layout

DAY = datetime.timedelta(days=1)


class Authority:
    """An authority, and whoever it has a certificate for.

    :param name: who it says that it is
    """

    def __init__(self, name: str = 'tests') -> None:
        self._name = _named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._own = self._signed(self._name, self._key, DAY, x509.
                                 BasicConstraints(ca=True, path_length=None))

    def introduce(self, folder: pathlib.Path) -> None:
        """Have whoever looks into the folder trust it."""
        (folder / 'cacert.pem').write_bytes(_pem(self._own))

    def certify(self, folder: pathlib.Path, kind: str,
                ends: datetime.timedelta = DAY) -> None:
        """Put a key and a certificate into the folder.

        :param kind: server or client
        :param ends: when, from now
        """
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(
            _named(layout.ADDRESS), key, ends,
            x509.BasicConstraints(ca=False, path_length=None),
            x509.SubjectAlternativeName([
                x509.IPAddress(ipaddress.ip_address(layout.ADDRESS))]))
        (folder / f'{kind}cert.pem').write_bytes(_pem(made))
        (folder / f'{kind}key.pem').write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))

    def _signed(self, name: x509.Name, key: ec.EllipticCurvePrivateKey,
                ends: datetime.timedelta, *more: x509.ExtensionType
                ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(
            self._name, name, key.public_key(), x509.random_serial_number(),
            now - 2 * DAY, now + ends)
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
