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

"""What the cloud changes outside the work tree, and puts back.

* ``/etc/libvirt/qemu.conf``: libvirt reads it nowhere else.
* ``/etc/ceph``: os-brick looks for keyrings there, whatever the settings say.
* ``/sbin/mount.nfs`` and ``mount.glusterfs``: mount(8) looks for them there.

What was there before is kept beside it under another name.
"""

import pathlib
import shutil

from tests.support.cloud import configs
from tests.support.cloud import console
from tests.support.cloud import layout

CLIENTS = ('admin', 'cinder', 'cinder-backup', 'glance')
_QEMU_CONF = pathlib.Path('/etc/libvirt/qemu.conf')
_ETC_CEPH = pathlib.Path('/etc/ceph')
_SUFFIX = '.before-wtcloud'


def change() -> None:
    """Put our files in place; safe to repeat."""
    _keep(_QEMU_CONF)
    shutil.copyfile(configs.QEMU_CONF, _QEMU_CONF)
    for link, target in _links().items():
        _keep(link)
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def put_back() -> None:
    """Undo ``change``; safe to repeat."""
    _unmount_shares()
    if _kept(_QEMU_CONF).exists():
        _give_back(_QEMU_CONF)
    for link, target in _links().items():
        if link.is_symlink() and link.readlink() == target:
            link.unlink()
            _give_back(link)


def _links() -> dict[pathlib.Path, pathlib.Path]:
    names = ['ceph.conf']
    names += [f'ceph.client.{client}.keyring' for client in CLIENTS]
    mounts = {pathlib.Path('/sbin', f'mount.{kind}'):
              layout.BIN / 'mount-share' for kind in ('nfs', 'glusterfs')}
    return mounts | {_ETC_CEPH / name: layout.ETC / name for name in names}


def _unmount_shares() -> None:
    """Let go of what mount-share mounted for services that have ended."""
    for line in pathlib.Path('/proc/self/mounts').read_text().splitlines():
        folder = line.split()[1]
        if folder.startswith(f'{layout.DATA}/'):
            console.run('umount', folder, log=layout.log_file('outside'))


def _kept(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + _SUFFIX)


def _keep(path: pathlib.Path) -> None:
    # A link is this cloud's, or that of a clone that is gone.
    if path.is_file() and not path.is_symlink() and not _kept(path).exists():
        shutil.copy2(path, _kept(path))


def _give_back(path: pathlib.Path) -> None:
    if _kept(path).exists():
        _kept(path).replace(path)
