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

"""A volume inside the guest: filesystem, mount, and what is dirty."""

import collections.abc
import contextlib

from tests.support.machines import guests

MOUNT = '/mnt/wt-demo'
_MAKE = {'ext4': ('mkfs.ext4', '-q', '-F'), 'xfs': ('mkfs.xfs', '-q', '-f'),
         'btrfs': ('mkfs.btrfs', '-q', '-f')}
FILESYSTEMS = tuple(_MAKE)
# Dirty pages stay in the page cache until somebody asks for them.
_KEEP_DIRTY = {'dirty_ratio': '70', 'dirty_background_ratio': '60',
               'dirty_expire_centisecs': '60000'}


def keep_dirty_pages(guest: guests.Guest) -> None:
    """Raise the guest's writeback thresholds."""
    for name, value in _KEEP_DIRTY.items():
        guest.put(f'/proc/sys/vm/{name}', value.encode())


def await_device(guest: guests.Guest, device: str) -> None:
    """Wait until a guest has noticed what was just attached to it."""
    guest.run('udevadm', 'wait', '--settle', '--timeout=30', device)


def make_filesystem(guest: guests.Guest, device: str, kind: str) -> None:
    """Make an empty filesystem on a device that was just attached."""
    await_device(guest, device)
    guest.run(*_MAKE[kind], device)


@contextlib.contextmanager
def mounted(guest: guests.Guest, device: str, where: str = MOUNT,
            ) -> collections.abc.Iterator[None]:
    """Mount as ever, which replays the journal; unmount at the end."""
    await_device(guest, device)
    guest.run('mkdir', '-p', where)
    guest.run('mount', device, where)
    try:
        yield
    finally:
        guest.run('umount', where, timeout=300)


def dirty_mib(guest: guests.Guest) -> int:
    """Return how much dirty data the guest has."""
    lines = guest.run('cat', '/proc/meminfo').text.splitlines()
    meminfo = dict(line.split(':') for line in lines)
    return int(meminfo['Dirty'].split()[0]) // 1024


def settings(guest: guests.Guest) -> list[str]:
    """Return the writeback settings, and the mount with its options."""
    found = guest.run('sh', '-c', 'grep . /proc/sys/vm/dirty*; '
                      f'grep " {MOUNT} " /proc/self/mountinfo')
    return found.text.splitlines()
