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

"""A guest to which everything happens that can happen to a running one."""

import contextlib
import time
from xml.etree import ElementTree

import libvirt

from tests.support.cloud import layout
from tests.support.machines import guests
from tests.support.machines import machine

BOOT_SECONDS = 180
DETACH_SECONDS = 30


class LiveMachine(machine.Machine):
    """A guest that is resized, shut off, rebooted and migrated."""

    def resize(self, disk: machine.Disk, size: int) -> None:
        """Let a volume grow while the guest has it."""
        self._domain.blockResize(str(disk.path), size,
                                 libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        self.shell(f'for i in $(seq 100); do test $(cat /sys/block/{disk.name}'
                   f'/size) = {size // 512} && exit 0; sleep 0.1; done; '
                   f'exit 1')

    def state(self) -> int:
        """Return libvirt's state of it."""
        return int(self._domain.state()[0])

    def reset(self) -> None:
        """Press the reset button."""
        self._domain.reset()

    def attach_device(self, xml: str) -> None:
        """Plug a device in."""
        self._domain.attachDevice(xml)

    def detach_device(self, kind: str) -> str:
        """Pull out the first device of a kind; return its XML."""
        found = ElementTree.fromstring(self._domain.XMLDesc()).find(
            f'./devices/{kind}')
        xml = ElementTree.tostring(found, 'unicode')
        self._domain.detachDevice(xml)
        end = time.monotonic() + DETACH_SECONDS
        while f'<{kind} ' in self._domain.XMLDesc():
            if time.monotonic() > end:
                raise guests.GuestError(f'{kind}: it does not let go of it')
            time.sleep(0.2)
        return xml

    def define(self) -> None:
        """Have libvirt know it while it is shut off too, as Nova does."""
        # The running one: an old definition knows old disks.
        self._connection.defineXML(self._domain.XMLDesc())

    def undefine(self) -> None:
        """Undo ``define``."""
        self._domain.undefine()

    def shut_off(self) -> None:
        """Turn the power off."""
        self._domain.destroy()

    def save(self) -> None:
        """Suspend it as Nova does: its memory goes to a file of libvirt's."""
        self._domain.managedSave()

    def start(self) -> None:
        """Boot it after a shut-off, or let a suspended one go on."""
        self._domain.create()
        self.guest.wait()

    def reboot(self) -> None:
        """Reboot from inside; return when it is up again."""
        boot = 'cat /proc/sys/kernel/random/boot_id'
        before = self.shell(boot)
        self.guest.spawn('systemctl', 'reboot')
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end:
            time.sleep(1)
            with contextlib.suppress(guests.GuestError):
                if self.shell(boot) != before:
                    return
        raise guests.GuestError(f'not up again after {BOOT_SECONDS} s')

    def migrate(self, uri: str) -> None:
        """Live-migrate it to another libvirt that sees the same files."""
        self._domain.migrateToURI3(
            uri, {libvirt.VIR_MIGRATE_PARAM_URI: f'tcp://{layout.ADDRESS}'},
            libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
            | libvirt.VIR_MIGRATE_UNSAFE)
        self._connection = libvirt.open(uri)
        self._domain = self._connection.lookupByUUIDString(self.instance)
        self.guest.domain = self._domain
