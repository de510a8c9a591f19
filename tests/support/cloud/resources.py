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

"""What tests find in the cloud: images, a flavor, a volume type."""

import pathlib
from typing import Any

from tests.support.cloud import accounts
from tests.support.cloud import image
from tests.support.cloud import layout

FLAVOR = 'm1.guest'
VOLUME_TYPE = 'ceph'
MULTIATTACH = 'multiattach'
ENCRYPTED = 'encrypted'
FILES = 'nfs'
SNAPSHOTS = 'snapshots'
# RBD that copies a live image instead of cloning it.
COPIES = 'copies'
_LUKS = {'provider': 'luks', 'control_location': 'front-end',
         'cipher': 'aes-xts-plain64', 'key_size': 256}
_AGENT = {'hw_qemu_guest_agent': 'yes'}
_VIRTIO = {'os_command_line': image.ROOT_VIRTIO}
_SCSI = {'os_command_line': image.ROOT_SCSI, 'hw_disk_bus': 'scsi',
         'hw_scsi_model': 'virtio-scsi'}
# One disk, seen in three ways.
IMAGES = {
    'guest': _VIRTIO | _AGENT,
    'guest-scsi': _SCSI | _AGENT,
    'guest-noagent': _VIRTIO,
}


def create_images() -> None:
    """Upload the guest; safe to repeat."""
    with accounts.connect() as connection:
        boot = {
            'kernel_id': _upload(connection, 'guest-kernel', layout.KERNEL,
                                 'aki'),
            'ramdisk_id': _upload(connection, 'guest-initrd', layout.INITRD,
                                  'ari'),
            'hw_rng_model': 'virtio',
        }
        for name, properties in IMAGES.items():
            _upload(connection, name, layout.ROOTFS, 'raw',
                    boot | properties)


def create_flavor() -> None:
    """Make the flavor that fits the guest; safe to repeat."""
    with accounts.connect() as connection:
        if not connection.compute.find_flavor(FLAVOR):
            connection.compute.create_flavor(name=FLAVOR, ram=512, vcpus=1,
                                             disk=1)


def create_volume_types() -> None:
    """Make the volume types; safe to repeat."""
    with accounts.connect() as connection:
        storage = connection.block_storage
        for name, specs in ((VOLUME_TYPE, {}), (
                MULTIATTACH, {'multiattach': '<is> True'}), (ENCRYPTED, {}),
                (FILES, {'volume_backend_name': FILES}),
                (COPIES, {'volume_backend_name': COPIES}),
                (SNAPSHOTS, {'volume_backend_name': SNAPSHOTS})):
            if not storage.find_type(name):
                made = storage.create_type(name=name, extra_specs={
                    'volume_backend_name': VOLUME_TYPE, **specs})
                if name == ENCRYPTED:
                    storage.create_type_encryption(made, **_LUKS)


def _upload(connection: Any, name: str, path: pathlib.Path,
            disk_format: str, properties: dict[str, str] | None = None,
            ) -> str:
    for found in connection.image.images(name=name):
        if found.status == 'active':
            return str(found.id)
        connection.image.delete_image(found)
    made = connection.create_image(
        name, filename=str(path), disk_format=disk_format,
        container_format='bare' if disk_format == 'raw' else disk_format,
        visibility='public', validate_checksum=False, wait=True,
        **(properties or {}))
    return str(made.id)
