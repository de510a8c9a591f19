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

"""The guest that servers run: Debian on an ext4 disk. Standard library only.

The disk has no partitions and no boot loader; kernel and initrd lie beside
it and are handed to the hypervisor.
"""

import hashlib
import shutil
import tempfile

from tests.cloud import console
from tests.cloud import layout

SUITE = 'bookworm'
KERNEL = 'linux-image-cloud-amd64'
SIZE = 768 << 20
OPTIONS = (
    '--variant=minbase',
    '--mode=root',
    # The clone may lie where only root can go.
    '--aptopt=APT::Sandbox::User "root"',
    '--aptopt=APT::Install-Recommends "false"',
    '--dpkgopt=path-exclude=/usr/share/doc/*',
    '--dpkgopt=path-exclude=/usr/share/locale/*',
    '--dpkgopt=path-exclude=/usr/share/man/*',
)
# virtio-blk disks are named in the order of their slots, so a copy of the root
# disk that is attached too is not taken for it. scsi disks have no such order.
COMMAND_LINE = ('ro console=tty0 console=ttyS0 quiet net.ifnames=0 '
                'mitigations=off systemd.show_status=0')
ROOT_VIRTIO = f'root=/dev/vda {COMMAND_LINE}'
ROOT_SCSI = f'root=LABEL=root {COMMAND_LINE}'

_PACKAGES = layout.HERE / 'guest' / 'packages.txt'
_CUSTOMIZE = layout.HERE / 'guest' / 'customize.sh'


def ensure() -> None:
    """Build disk, kernel and initrd, unless they are there already."""
    stamp = layout.GUEST / 'recipe.sha256'
    wanted = recipe()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    console.say('building the guest image ...')
    stamp.unlink(missing_ok=True)
    layout.GUEST.mkdir(parents=True, exist_ok=True)
    _build()
    stamp.write_text(wanted)
    console.say(f'guest image: {layout.ROOTFS}')


def recipe() -> str:
    """A hash of all that the image depends on."""
    text = repr((SUITE, KERNEL, SIZE, OPTIONS, _PACKAGES.read_text(),
                 _CUSTOMIZE.read_text()))
    return hashlib.sha256(text.encode()).hexdigest()


def _build() -> None:
    log = layout.INSTALL_LOG / 'guest.log'
    packages = ','.join([KERNEL, *_PACKAGES.read_text().split()])
    with tempfile.TemporaryDirectory(dir=layout.GUEST) as root:
        console.run('mmdebstrap', *OPTIONS, f'--include={packages}',
                    f'--customize-hook="{_CUSTOMIZE}" "$1"', SUITE, root,
                    log=log)
        shutil.copyfile(f'{root}/vmlinuz', layout.KERNEL)
        shutil.copyfile(f'{root}/initrd.img', layout.INITRD)
        layout.ROOTFS.unlink(missing_ok=True)
        with layout.ROOTFS.open('wb') as disk:
            disk.truncate(SIZE)
        console.run('mkfs.ext4', '-q', '-L', 'root', '-m', '0', '-d', root,
                    layout.ROOTFS, log=log)
