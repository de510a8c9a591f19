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

import dataclasses
import hashlib
import pathlib
import shutil
import subprocess
import tempfile

from tests.support.cloud import console
from tests.support.cloud import layout

KERNEL = 'linux-image-cloud-amd64'
SIZE = 768 << 20
OPTIONS = (
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

# An EFI system partition, and what comes after it, in sectors of 512 bytes.
EFI_START, EFI_SIZE = 2048, 65536
_EFI_TABLE = (f'label: gpt\nstart={EFI_START},size={EFI_SIZE},type=U\n'
              f'start={EFI_START + EFI_SIZE}\n')

_FILES = layout.HERE / 'guest'


@dataclasses.dataclass(frozen=True)
class Image:
    """A guest's disk, and what boots it.

    :ivar suite: the Debian release
    :ivar variant: what is there besides the packages, as mmdebstrap says it
    :ivar recipe: the folder of packages.txt and customize.sh
    :ivar folder: where it is built
    :ivar sources: where the packages come from, if not from Debian's usual
        archives
    :ivar booted_by: whose kernel and initial RAM disk it has, if not its own
    :ivar linux: the package of its kernel
    :ivar packages: what it has besides the recipe's
    :ivar size: of the disk, bytes
    :ivar options: further ones of mmdebstrap
    :ivar efi: whether it is ``booted_by``'s disk in a partition table, beside
        an EFI system partition, as boot volumes of clouds are
    """

    name: str
    suite: str
    folder: pathlib.Path
    recipe: pathlib.Path = _FILES
    variant: str = 'minbase'
    sources: tuple[str, ...] = ()
    booted_by: 'Image | None' = None
    linux: str = KERNEL
    packages: tuple[str, ...] = ()
    size: int = SIZE
    efi: bool = False
    options: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """The device that is to be mounted as root."""
        return '/dev/vda2' if self.efi else '/dev/vda'

    @property
    def rootfs(self) -> pathlib.Path:
        """The disk, raw."""
        return self.folder / layout.ROOTFS.name

    @property
    def kernel(self) -> pathlib.Path:
        """The kernel."""
        return (self.booted_by or self).folder / layout.KERNEL.name

    @property
    def initrd(self) -> pathlib.Path:
        """The initial RAM disk."""
        return (self.booted_by or self).folder / layout.INITRD.name

    @property
    def _hook(self) -> str:
        """When mmdebstrap runs customize.sh."""
        return 'extract' if self.variant == 'extract' else 'customize'

    def ensure(self) -> None:
        """Build it, unless it is there already."""
        if self.booted_by:
            self.booted_by.ensure()
        stamp = self.folder / 'recipe.sha256'
        wanted = self._recipe_hash()
        if stamp.exists() and stamp.read_text() == wanted:
            return
        console.say(f'building the guest image {self.name} ...')
        stamp.unlink(missing_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.efi:
            self._partition()
        else:
            self._build()
        stamp.write_text(wanted)
        console.say(f'guest image: {self.rootfs}')

    def _recipe_hash(self) -> str:
        text = repr((self.suite, self.variant, self.sources, self.size,
                     OPTIONS + self.options, self.efi and _EFI_TABLE,
                     self._packages(), self._customize().read_text()))
        return hashlib.sha256(text.encode()).hexdigest()

    def _packages(self) -> list[str]:
        kernel = [] if self.booted_by else [self.linux]
        return [*kernel, *self.packages,
                *(self.recipe / 'packages.txt').read_text().split()]

    def _customize(self) -> pathlib.Path:
        return self.recipe / 'customize.sh'

    def _partition(self) -> None:
        assert self.booted_by is not None
        log = layout.INSTALL_LOG / f'guest-{self.name}.log'
        before = (EFI_START + EFI_SIZE) * 512
        self.rootfs.unlink(missing_ok=True)
        with self.rootfs.open('wb') as disk:
            # The other copy of the table is behind everything.
            disk.truncate(before + self.size + (1 << 20))
        subprocess.run(['sfdisk', '-q', self.rootfs], check=True, text=True,
                       input=_EFI_TABLE)
        console.run('mkfs.vfat', '-F16', f'--offset={EFI_START}',
                    self.rootfs, str(EFI_SIZE // 2), log=log)
        console.run('dd', f'if={self.booted_by.rootfs}', f'of={self.rootfs}',
                    'bs=1M', f'seek={before >> 20}', 'conv=sparse,notrunc',
                    log=log)

    def _build(self) -> None:
        log = layout.INSTALL_LOG / f'guest-{self.name}.log'
        with tempfile.TemporaryDirectory(dir=self.folder) as root:
            console.run('mmdebstrap', *OPTIONS, *self.options,
                        f'--variant={self.variant}',
                        f'--include={",".join(self._packages())}',
                        f'--{self._hook}-hook="{self._customize()}" "$1"',
                        self.suite, root, *self.sources, log=log)
            if not self.booted_by:
                shutil.copyfile(f'{root}/vmlinuz', self.kernel)
                shutil.copyfile(f'{root}/initrd.img', self.initrd)
            self.rootfs.unlink(missing_ok=True)
            with self.rootfs.open('wb') as disk:
                disk.truncate(self.size)
            console.run('mkfs.ext4', '-q', '-L', 'root', '-m', '0', '-d',
                        root, self.rootfs, log=log)


def source(suite: str) -> str:
    """Return where a Debian release's packages come from.

    What bullseye's security archive lists is not there any more.
    """
    return f'deb http://deb.debian.org/debian {suite} main'


def _release(suite: str) -> Image:
    return Image(suite, suite, layout.GUEST / suite, sources=(source(suite),))


def _ubuntu(suite: str) -> Image:
    # Debian has no keys of Ubuntu's archive; nothing secret is in a guest.
    return Image(suite, suite, layout.GUEST / suite, sources=tuple(
        'deb [trusted=yes] http://archive.ubuntu.com/ubuntu '
        f'{pocket} main universe' for pocket in (suite, f'{suite}-updates')),
        # Its dash is not installed without its manual.
        options=('--dpkgopt=path-include=/usr/share/man/man1/*',
                 # For the tests' own programs; python3 is 3.6.
                 '--include=python3.8'),
        linux='linux-image-virtual')


# The cloud's own, and what single guests have instead. Ubuntu 18.04 is for its
# kernel, Linux 4.15, with Python 3.6 and the agent of QEMU 2.11.
GUEST = Image('bookworm', 'bookworm', layout.GUEST)
IMAGES = {image.name: image for image in (
    GUEST, _release('bullseye'), _release('trixie'), _ubuntu('bionic'),
    Image('minimal', 'bookworm', layout.GUEST / 'minimal',
          _FILES / 'minimal', variant='extract', booted_by=GUEST),
    # Those of clouds have no driver for AHCI, and fewer file systems.
    Image('generic', 'bookworm', layout.GUEST / 'generic',
          linux='linux-image-amd64', size=2 * SIZE,
          packages=('exfatprogs', 'f2fs-tools')),
    Image('efi', 'bookworm', layout.GUEST / 'efi', booted_by=GUEST,
          efi=True))}
