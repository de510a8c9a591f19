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

"""What is known of types of file systems: which of them can be frozen."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
from typing import Generic
from typing import Protocol
from typing import TypeVar

# Their drivers in Linux have neither freeze_fs nor freeze_super, so FIFREEZE
# is EOPNOTSUPP, which the agent passes over and does not count.
_NEVER_FROZEN = frozenset({
    'adfs', 'affs', 'befs', 'bfs', 'cramfs', 'efs', 'erofs', 'exfat',
    'fuseblk', 'hfs', 'hfsplus', 'hpfs', 'iso9660', 'minix', 'msdos', 'ntfs',
    'ntfs3', 'omfs', 'qnx4', 'qnx6', 'romfs', 'squashfs', 'sysv', 'udf', 'ufs',
    'vfat'})
# Nothing in them is ever dirty.
_READ_ONLY = frozenset({'cramfs', 'erofs', 'iso9660', 'romfs', 'squashfs'})
_EFI_TYPES = frozenset({'vfat', 'msdos'})
_EFI_POINTS = frozenset({'/boot/efi', '/efi', '/boot'})


class Mounted(Protocol):
    """A file system as an agent or a guardian tells of it."""

    @property
    def kind(self) -> str:
        """Its type, as Linux calls it."""

    @property
    def mountpoint(self) -> str:
        """Where it is mounted."""


Some = TypeVar('Some', bound=Mounted)


@dataclasses.dataclass(frozen=True)
class Sorted(Generic[Some]):
    """The file systems of one volume, by what a freeze can do for them.

    :ivar freezable: those that a freeze covers
    :ivar efi: the EFI system partition beside others: firmware and package
        managers write it, rarely, and nobody's data are there, so that it is
        left uncovered lowers no claim
    :ivar unfreezable: others that no kernel can freeze, and that may be dirty
    """

    freezable: list[Some]
    efi: list[Some]
    unfreezable: list[Some]


def by_freeze(mounts: Iterable[Some]) -> Sorted[Some]:
    """Sort the file systems of one volume by what a freeze can do."""
    mounts = list(mounts)
    freezable = [fs for fs in mounts if fs.kind not in _NEVER_FROZEN]
    efi = [fs for fs in mounts if fs.kind in _EFI_TYPES
           and fs.mountpoint in _EFI_POINTS]
    if len(efi) == len(mounts):
        efi = []
    return Sorted(freezable, efi, [
        fs for fs in mounts if fs.kind in _NEVER_FROZEN - _READ_ONLY
        and fs not in efi])


def remark(efi: Iterable[Mounted]) -> str:
    """Return what is to be said of EFI system partitions left uncovered."""
    points = sorted({fs.mountpoint for fs in efi})
    return (f'the EFI system partition at {", ".join(points)} is not covered'
            if points else '')
