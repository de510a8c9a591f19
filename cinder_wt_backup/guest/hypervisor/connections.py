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

"""Connections to compute hosts: made, kept for whoever needs one next, ended.

One is kept for each host at the most, and nobody else has it: what is taken is
not here any more. Without a lock, since that of one kind of threads is none to
the other: each step is one operation of a dictionary's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time

import libvirt

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import blocking
from cinder_wt_backup.guest.hypervisor import remedies

# Seconds from the connect: then it is made anew, with what certificates,
# passwords and names are by then.
AGE = 300
# A dead connection ends after this many seconds times this many tries.
KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 5, 3
# What libvirt may take from its auth.conf when a host asks for it (SASL): a
# kind that is not named here it takes from nowhere, and finds no mechanism.
CREDENTIALS = [libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE,
               libvirt.VIR_CRED_REALM]


@dataclasses.dataclass(frozen=True)
class Connection:
    """A connection, and until when it may be taken by the next one."""

    handle: libvirt.virConnect
    until: float

    @property
    def is_old(self) -> bool:
        """Whether it is to be made anew."""
        return time.monotonic() > self.until


_kept: dict[str, Connection] = {}


def make(uri: str, timeout: float) -> Connection:
    """Connect with the credentials of libvirt's auth.conf.

    What is not there is not asked for: nobody sits before a service.

    :raises HostUnreachable: it refuses
    :raises TimeoutError: it took longer
    :raises NotCalledError: nobody was asked
    """
    until = time.monotonic() + AGE
    asked: list[object] = []

    def refuse(credentials: list[list[object]], _data: object) -> int:
        asked.extend(credentials)
        return -1

    try:
        # The errors that are no host's as well: of its auth.conf, which
        # libvirt cannot always name.
        made = blocking.call(uri, timeout, libvirt.openAuth, uri,
                             [CREDENTIALS, refuse, None], 0)
    except libvirt.libvirtError as error:
        raise exceptions.HostUnreachable(remedies.refused(
            uri, error, bool(asked))) from error
    with contextlib.suppress(libvirt.libvirtError):
        made.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
    return Connection(made, until)


def take(uri: str) -> Connection | None:
    """Return the host's connection, which is the caller's from now on."""
    found = _kept.pop(uri, None)
    if found is None or (found.handle.isAlive() and not found.is_old):
        return found
    end(found)
    return None


def keep(uri: str, connection: Connection) -> None:
    """Keep it for the next one, unless there is one for him."""
    if connection.is_old or (
            _kept.setdefault(uri, connection) is not connection):
        end(connection)


def end(connection: Connection, *got: object) -> None:
    """Close it, unwaited for.

    :param got: what was got from it
    """
    # The last reference to one ends it, which blocks.
    blocking.let_go([connection.handle, *got], connection.handle.close)


def end_old() -> None:
    """Close those that nobody has needed for long."""
    for uri, connection in list(_kept.items()):
        if connection.is_old and _kept.pop(uri, None) is connection:
            end(connection)
