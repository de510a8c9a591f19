#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""libvirt: Ceph's key, what an earlier cloud left there, the servers."""

import base64
import contextlib
import time

import libvirt

from tests.support.cloud import ceph
from tests.support.cloud import console
from tests.support.cloud import layout

# Guests that have not shut down by then lose what they did not flush.
SHUTDOWN = 30
_SECRET = f"""
<secret ephemeral='no' private='no'>
  <uuid>{layout.CEPH_SECRET}</uuid>
  <usage type='ceph'><name>client.cinder secret</name></usage>
</secret>
"""

# Errors arrive as exceptions; libvirt would print each of them too.
libvirt.registerErrorHandler(lambda _context, _error: None, None)


def connect() -> libvirt.virConnect:
    """A connection to this machine's libvirt. OSError when there is none."""
    try:
        return libvirt.open(layout.LIBVIRT_URI)
    except libvirt.libvirtError as err:
        raise ConnectionError(str(err)) from err


def is_ready(_since: float) -> bool:
    """Whether libvirt answers."""
    with contextlib.closing(connect()) as connection:
        return bool(connection.getVersion())


def set_secret() -> None:
    """Give libvirt the key with which QEMU opens volumes."""
    with contextlib.closing(connect()) as connection:
        secret = connection.secretDefineXML(_SECRET)
        secret.setValue(base64.b64decode(ceph.key_of('cinder')))


def forget() -> None:
    """Remove all servers and the key.

    A new nova-compute refuses to start beside servers that it does not know.
    """
    with contextlib.closing(connect()) as connection:
        for server in _servers(connection):
            persistent = server.isPersistent()
            # In this order: one that is defined but off ends with undefine.
            if server.isActive():
                server.destroy()
            if persistent:
                # A suspended one keeps its memory, and is kept by it.
                server.undefineFlags(
                    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        for secret in connection.listAllSecrets():
            if secret.UUIDString() == layout.CEPH_SECRET:
                secret.undefine()


def shut_down_servers() -> None:
    """Ask all servers to shut down; turn off those that do not."""
    try:
        connection = connect()
    except ConnectionError:
        return
    with contextlib.closing(connection):
        servers = list(filter(_is_active, _servers(connection)))
        if servers:
            console.say(f'shutting down {len(servers)} servers ...')
            _turn_off(servers)


def _turn_off(servers: list[libvirt.virDomain]) -> None:
    asked = [server for server in servers if _ask_to_shut_down(server)]
    end = time.monotonic() + SHUTDOWN
    while time.monotonic() < end and any(map(_is_active, asked)):
        time.sleep(0.2)
    for server in filter(_is_active, servers):
        console.say(f'{server.name()} did not shut down: turned off')
        with contextlib.suppress(libvirt.libvirtError):
            server.destroy()


def _ask_to_shut_down(server: libvirt.virDomain) -> bool:
    try:
        server.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
    except libvirt.libvirtError:
        # It has no agent, or is frozen.
        return False
    return True


def _is_active(server: libvirt.virDomain) -> bool:
    try:
        return bool(server.isActive())
    except libvirt.libvirtError:
        return False


def _servers(connection: libvirt.virConnect) -> list[libvirt.virDomain]:
    """Return Nova's servers, and guests that an aborted test left."""
    return [domain for domain in connection.listAllDomains()
            if domain.name().startswith(('instance-', 'wt-'))]
