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

"""A real guest behind the real libvirt, with disks as Nova attaches them."""

import atexit
from collections.abc import Iterator
import contextlib
import pathlib
import shutil
import subprocess
import tempfile
import textwrap
import uuid

import libvirt

from tests.support.cloud import image as images
from tests.support.cloud import layout
from tests.support.machines import guests

PROJECT = '0123456789abcdef0123456789abcdef'
COMMAND_LINE = ('ro console=ttyS0 quiet net.ifnames=0 '
                'mitigations=off systemd.show_status=0')
DISK_SIZE = 1 << 30
DRIVER = "cache='writeback'"
_COPY = ('cp', '--sparse=always', '--reflink=auto')
# libvirt's first name of a disk on a bus.
COLD = {'ide': 'hda', 'sata': 'sda'}

_DOMAIN = """
<domain type='qemu'>
  <name>wt-{instance}</name>
  <uuid>{instance}</uuid>
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:owner><nova:project uuid="{project}">p</nova:project></nova:owner>
    </nova:instance>
  </metadata>
  <memory unit='MiB'>768</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{command_line}</cmdline>
  </os>
  <features><acpi/></features>
  <on_crash>preserve</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='writeback'/>
      <source file='{root}'/><target dev='vda' bus='virtio'/>
      <serial>{volume}</serial>
      <alias name='ua-{volume}'/>
    </disk>
    {cold}
    <controller type='virtio-serial' index='0'/>
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <channel type='unix'>
      <source mode='bind'/>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <serial type='file'><source path='{console}'/></serial>
    <panic model='isa'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
"""

_DISK = """
<disk type='file' device='disk'>
  <driver name='qemu' type='raw' {driver}/>
  <source file='{path}'/>
  <target dev='{target}' bus='{bus}'/>
  <serial>{volume}</serial>
  <alias name='ua-{volume}'/>
</disk>
"""


class Machine:
    """A guest of its own, thrown away at the end.

    :param image: what it is booted from
    :param cold: the bus of an empty disk that it has from the start, for
        those that nothing can be plugged into: ide or sata

    :ivar instance: its UUID
    :ivar boot_volume: what it was booted from
    :ivar cold: that disk
    :ivar guest: what tests do in it, past the plugin
    """

    def __init__(self, image: images.Image = images.GUEST,
                 cold: str = '') -> None:
        image.ensure()
        self.instance = str(uuid.uuid4())
        layout.CLOUD.mkdir(exist_ok=True)
        self._folder = pathlib.Path(tempfile.mkdtemp(
            prefix='machine-', dir=layout.CLOUD))
        atexit.register(self.remove)
        root = self._folder / 'root.qcow2'
        boot_volume = str(uuid.uuid4())
        subprocess.run(
            ['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b',
             str(image.rootfs), str(root)], check=True)
        there = self._file(None) if cold else ()
        self._connection = libvirt.open(layout.LIBVIRT_URI)
        self._domain = self._connection.createXML(textwrap.dedent(
            _DOMAIN.format(instance=self.instance, project=PROJECT,
                           kernel=image.kernel, initrd=image.initrd,
                           root=root, volume=boot_volume,
                           command_line=f'root={image.root} {COMMAND_LINE}',
                           cold=_disk(*there, COLD[cold], cold) if cold
                           else '',
                           console=self._folder / 'console.log')))
        self.guest = guests.Guest(self._domain)
        self.guest.wait()
        # libvirt's names of disks; those of detached ones are free again.
        self._letters = list('bcdefghijklmnopqrstuvwxyz')
        self.boot_volume = Disk(self, boot_volume, root, 'vda')
        self.cold = (Disk(self, *there, self._name_of(there[0])) if cold
                     else None)

    def remove(self) -> None:
        """End the guest and forget its disks; harmless when it has ended."""
        for end in (lambda: self._domain.destroy(),
                    lambda: self._domain.undefineFlags(
                        libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)):
            with contextlib.suppress(libvirt.libvirtError, AttributeError):
                end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_disk(self, content: pathlib.Path | None = None,
                 bus: str = 'virtio', driver: str = DRIVER) -> 'Disk':
        """Attach a volume, empty or with what a file holds.

        :param driver: how QEMU treats it
        """
        volume, path = self._file(content)
        letter = self._letters.pop(0)
        target = ('vd' if bus == 'virtio' else 'sd') + letter
        self._domain.attachDevice(_disk(volume, path, target, bus, driver))
        return Disk(self, volume, path, self._name_of(volume), letter)

    def _file(self, content: pathlib.Path | None) -> tuple[str, pathlib.Path]:
        """Make a volume that nobody has yet; return its id and its file."""
        volume = str(uuid.uuid4())
        path = self._folder / volume
        if content is None:
            with open(path, 'wb') as new:
                new.truncate(DISK_SIZE)
        else:
            subprocess.run([*_COPY, str(content), str(path)], check=True)
        return volume, path

    def detach(self, disk: 'Disk') -> None:
        """Detach a volume; better not one that is mounted."""
        tree = self._domain.XMLDesc()
        for xml in tree.split('<disk ')[1:]:
            if disk.volume in xml:
                self._domain.detachDevice(
                    '<disk ' + xml.split('</disk>')[0] + '</disk>')
        self.shell(f'for i in $(seq 300); do test -e /sys/block/{disk.name} '
                   f'|| exit 0; sleep 0.1; done; exit 1')
        self._letters.append(disk.letter)

    def suspend(self) -> None:
        """Pause the guest."""
        self._domain.suspend()

    def resume(self) -> None:
        """Let a paused guest go on."""
        self._domain.resume()

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """Have it not run meanwhile, if it does."""
        runs = (self._domain.isActive() and self._domain.state()[0]
                == libvirt.VIR_DOMAIN_RUNNING)
        if runs:
            self.suspend()
        try:
            yield
        finally:
            if runs:
                self.resume()

    def shell(self, script: str, timeout: float = 60) -> str:
        """Run a shell script in the guest and return what it prints."""
        return self.guest.run('/bin/sh', '-ec', script, timeout=timeout).text

    def _name_of(self, volume: str) -> str:
        """Return the kernel's name of a disk that was just attached."""
        return self.shell(
            f'cd /sys/block; for i in $(seq 100); do found=$(grep -ls '
            f'{volume[:20]} */serial */device/vpd_pg80 || :); test "$found" '
            f'&& echo ${{found%%/*}} && exit 0; sleep 0.1; done; exit 1')


def _disk(volume: str, path: pathlib.Path, target: str, bus: str,
          driver: str = DRIVER) -> str:
    return _DISK.format(path=path, volume=volume, target=target, bus=bus,
                        driver=driver)


class Disk:
    """A volume attached to a machine.

    :ivar name: in the guest, such as ``vdb``
    :ivar path: the file on the host that holds the data
    """

    def __init__(self, machine: Machine, volume: str, path: pathlib.Path,
                 name: str, letter: str = 'a') -> None:
        self.machine = machine
        self.volume = volume
        self.path = path
        self.name = name
        self.letter = letter

    def snapshot(self) -> pathlib.Path:
        """Copy what has reached the disk now: the point in time, raw.

        The guest is paused for the copy, so that it is of one instant; what
        is in its page cache stays there.
        """
        copy = self.path.with_suffix('.snapshot')
        command = list(_COPY)
        if self.path.suffix == '.qcow2':
            command = ['qemu-img', 'convert', '--force-share', '-O', 'raw']
        with self.machine.at_rest():
            subprocess.run([*command, str(self.path), str(copy)], check=True)
        return copy
