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

"""A server and its volumes in the cloud, and what is done with them."""

import collections.abc
import contextlib
import typing
import uuid
import xml.etree.ElementTree

import libvirt
import openstack

from tests.support.cloud import console
from tests.support.cloud import layout
from tests.support.cloud import resources
from tests.support.machines import guests

_NAME = 'wt-demo'
_IMAGE = 'guest'
_SECONDS = 300
# What a server needs that is written to and backed up.
MEMORY_MIB = 768
_IDLE = ('available', 'error', 'error_restoring')


class Stage(contextlib.ExitStack):
    """What is made here is removed when the stage is left, or kept."""

    def __init__(self, cloud: openstack.connection.Connection, keep: bool,
                 ) -> None:
        super().__init__()
        self.cloud = cloud
        self._keep = keep
        # What an aborted run left behind is not in the way.
        self._name = f'{_NAME}-{uuid.uuid4().hex[:8]}'
        self._server: typing.Any = None

    def __exit__(self, *error: typing.Any) -> None:
        console.say('keeping what was made' if self._keep else
                    'removing what was made')
        super().__exit__(*error)

    def boot(self, memory_mib: int) -> guests.Guest:
        """Boot a server, without network; return it when it is usable.

        A part of a stage that has one goes on with that.
        """
        if self._server is None:
            self._create_server(memory_mib)
        guest = guests.Guest(self.domain())
        guest.wait(_SECONDS)
        return guest

    def _create_server(self, memory_mib: int) -> None:
        compute = self.cloud.compute
        flavor = compute.create_flavor(name=self._name, ram=memory_mib,
                                       vcpus=1, disk=1)
        self._later(compute.delete_flavor, flavor)
        self._server = compute.create_server(
            name=self._name, flavor_id=flavor.id, networks='none',
            image_id=self.cloud.image.find_image(_IMAGE, False).id)
        self._later(self._delete_server)
        compute.wait_for_server(self._server, wait=_SECONDS)

    def part(self) -> 'Stage':
        """A stage with the same server, for what is removed earlier."""
        part = Stage(self.cloud, self._keep)
        part._server = self._server
        return part

    def has_console(self) -> bool:
        """Whether Nova gives the server's console; it asks the host for it."""
        return self.cloud.compute.get_server_console_output(
            self._server, length=1) is not None

    def stop_server(self) -> None:
        """Have Nova shut the server down."""
        self._set_power(self.cloud.compute.stop_server, 'SHUTOFF')

    def start_server(self) -> None:
        """Have Nova start the server again."""
        self._set_power(self.cloud.compute.start_server, 'ACTIVE')

    def suspend_server(self) -> None:
        """Have Nova put the server's memory into a file, and end it."""
        self._set_power(self.cloud.compute.suspend_server, 'SUSPENDED')

    def resume_server(self) -> None:
        """Have Nova let a suspended server go on."""
        self._set_power(self.cloud.compute.resume_server, 'ACTIVE')

    def rescue_server(self) -> None:
        """Have Nova boot it from another disk, without its volumes."""
        self._set_power(self.cloud.compute.rescue_server, 'RESCUE')

    def unrescue_server(self) -> None:
        """Have Nova boot it as before."""
        self._set_power(self.cloud.compute.unrescue_server, 'ACTIVE')

    def volume(self, gibibytes: int,
               kind: str = resources.VOLUME_TYPE) -> str:
        """Make an empty volume of a volume type; return its id."""
        volume = self.cloud.block_storage.create_volume(
            name=self._name, size=gibibytes, volume_type=kind)
        self.remove_later('volume', volume.id)
        self.await_volume(volume.id, 'available')
        return volume.id

    def remove_later(self, kind: str, identity: str) -> None:
        """Remove a volume or a backup when the stage is left."""
        self._later(self._delete, kind, identity)

    def attach(self, volume: str) -> str:
        """Attach a volume; return its device's path in the guest."""
        self.cloud.compute.create_volume_attachment(self._server,
                                                    volume_id=volume)
        self._later(self._let_go, volume)
        console.wait_for(f'volume {volume} attached',
                         lambda: self._has(volume), _SECONDS)
        self.await_volume(volume, 'in-use')
        # The virtio serial is cut to 20 characters.
        return f'/dev/disk/by-id/virtio-{volume[:20]}'

    def detach(self, volume: str) -> None:
        """Detach a volume, which must not be in use in the guest."""
        self.cloud.compute.delete_volume_attachment(self._server, volume)
        console.wait_for(f'volume {volume} let go of',
                         lambda: not self._has(volume), _SECONDS)
        if not self.cloud.block_storage.get_volume(volume).attachments:
            self.await_volume(volume, 'available')

    def throttle(self, volume: str, megabytes_per_second: int) -> None:
        """Let the guest write to the volume at that speed at most."""
        self.domain().setBlockIoTune(
            self._target(volume),
            {libvirt.VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC:
             megabytes_per_second * 10**6}, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def await_volume(self, volume: str, status: str) -> None:
        """Wait until a volume has the status."""
        storage = self.cloud.block_storage
        storage.wait_for_status(
            storage.get_volume(volume), status, wait=_SECONDS, interval=1,
            failures=['error', 'error_restoring', 'error_deleting'])

    def await_backup(self, backup: str) -> dict[str, str]:
        """Wait until a backup is complete; return its metadata."""
        storage = self.cloud.block_storage
        try:
            return storage.wait_for_status(
                storage.get_backup(backup), 'available', wait=_SECONDS,
                interval=1, failures=['error']).metadata
        except openstack.exceptions.ResourceFailure as error:
            reason = storage.get_backup(backup).fail_reason
            raise console.CloudError(
                f'backup {backup} failed: {reason}') from error

    def _later(self, function: collections.abc.Callable[..., object],
               *arguments: object) -> None:
        if not self._keep:
            self.callback(function, *arguments)

    def domain(self) -> libvirt.virDomain:
        """Return the server's domain, by a new connection to libvirt."""
        # Nova gives the domain the server's id.
        connection = libvirt.open(layout.LIBVIRT_URI)
        return connection.lookupByUUIDString(self._server.id)

    def _set_power(self, ask: collections.abc.Callable[..., object],
                   status: str) -> None:
        ask(self._server)
        self.cloud.compute.wait_for_server(self._server, status, wait=_SECONDS)

    def _target(self, volume: str) -> str:
        tree = xml.etree.ElementTree.fromstring(self.domain().XMLDesc())
        path = f"devices/disk[serial='{volume}']/target"
        return next(tree.iterfind(path)).attrib['dev']

    def _let_go(self, volume: str) -> None:
        if self.cloud.block_storage.find_volume(volume) and self._has(volume):
            self.detach(volume)

    def _has(self, volume: str) -> bool:
        return any(each['server_id'] == self._server.id for each
                   in self.cloud.block_storage.get_volume(volume).attachments)

    def _delete_server(self) -> None:
        self.cloud.compute.delete_server(self._server)
        self.cloud.compute.wait_for_delete(self._server, interval=1,
                                           wait=_SECONDS)
        console.say('removed the server')

    def _delete(self, kind: str, identity: str) -> None:
        storage = self.cloud.block_storage
        get = getattr(storage, f'get_{kind}')
        if getattr(storage, f'find_{kind}')(identity) is None:
            return
        console.wait_for(f'an idle {kind} {identity}',
                         lambda: get(identity).status in _IDLE, _SECONDS)
        found = get(identity)
        getattr(storage, f'delete_{kind}')(found)
        storage.wait_for_delete(found, interval=1, wait=_SECONDS)
        console.say(f'removed the {kind} {identity}')
