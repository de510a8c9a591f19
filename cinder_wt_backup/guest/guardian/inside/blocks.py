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

"""The block devices that hold the volume's data, as sysfs shows them."""

import os
import re
import stat
import struct
import typing

from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import syscalls

ATTRIBUTE = 4096
MAX_DEVICES = 4096
KEPT_IN_PLACE = frozenset({b'linear', b'crypt', b'striped'})   # by dm
PLAIN = re.compile(rb'[^0-9A-Za-z-]')
Remarks = typing.Set[str]

Device = typing.NamedTuple('Device', [
    ('number', str), ('name', str), ('leaf', bool), ('depth', int)])
Loop = typing.NamedTuple('Loop', [
    ('name', str), ('on', str), ('read_only', bool), ('path', bytes)])


def attribute(path: str) -> bytes:
    """Return what a file of sysfs says; empty: it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC
                             | os.O_NONBLOCK)
    except OSError:
        return b''
    try:
        return os.read(descriptor, ATTRIBUTE).strip(b'\0\n ')
    except OSError:
        return b''
    finally:
        os.close(descriptor)


def names(path: str) -> typing.List[str]:
    """Return what is in a folder; empty: it is not there."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def find_disk(volume: str, address: str, sys: str = '/sys') -> str:
    """Return the name of the disk with that serial; empty: there is none.

    virtio shows 20 characters of a volume's id. Two disks may show the same:
    then that at the address counts.
    """
    matching = []
    for name in names('%s/block' % sys):
        serial = (attribute('%s/block/%s/serial' % (sys, name))
                  or _page_serial('%s/block/%s/device/vpd_pg80' % (sys, name)))
        if volume[:20].encode('ascii') in serial:
            matching.append(name)
    if address and len(matching) > 1:
        matching = [name for name in matching if '/%s/' % address in
                    os.path.realpath('%s/block/%s' % (sys, name))]
    return matching[0] if len(matching) == 1 else ''


def _page_serial(path: str) -> bytes:
    """Return a page's text; what of its header is left does no harm."""
    return PLAIN.sub(b'', attribute(path))


class Tree:
    """What is stacked on a disk: partitions, device-mapper, md.

    :ivar remarks: what was seen of it
    """

    def __init__(self, sys: str = '/sys', dev: str = '/dev') -> None:
        self._sys, self._dev = sys, dev
        self.devices: typing.Dict[str, Device] = {}
        self.remarks: Remarks = set()

    def add(self, name: str, depth: int = 0) -> None:
        """Add a device and all that is on it."""
        if name in self.devices or len(self.devices) >= MAX_DEVICES:
            return
        folder = '%s/class/block/%s' % (self._sys, name)
        parts = [each for each in names(folder)
                 if os.path.exists('%s/%s/partition' % (folder, each))]
        holders = names('%s/holders' % folder)
        self.devices[name] = Device(
            attribute('%s/dev' % folder).decode('ascii', 'replace'), name,
            not parts and not holders, depth)
        for part in parts:
            self.add(part, depth)
        for holder in holders:
            self.remarks.add(protocol.Remark.HELD)
            self.add(holder, depth)

    def look_below(self) -> None:
        """See whether something of it lies on other disks too."""
        for name in list(self.devices):
            folder = '%s/class/block/%s' % (self._sys, name)
            if set(names('%s/slaves' % folder)) - set(self.devices):
                self.remarks.add(protocol.Remark.SPANS)
                self._look_for_cache(folder)

    def _look_for_cache(self, folder: str) -> None:
        """A cache on another disk: bcache's, or what dm or md keep there.

        Of md: its journal, and mirrors that it writes behind.
        """
        if (os.path.exists(folder + '/bcache')
                or attribute(folder + '/dm/name')
                and not self._keeps_in_place(attribute(folder + '/dev'))
                or attribute(folder + '/md/consistency_policy') == b'journal'
                or attribute(folder + '/md/bitmap/backlog') > b'0'):
            self.remarks.add(protocol.Remark.CACHE)

    def _keeps_in_place(self, number: bytes) -> bool:
        """Whether a device-mapper device has data only where they seem."""
        try:
            major, minor = map(int, number.split(b':'))
            control = os.open(self._dev + '/mapper/control', os.O_RDWR
                              | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return syscalls.mapper_targets(
                    control, major, minor) <= KEPT_IN_PLACE
            finally:
                os.close(control)
        except (OSError, ValueError, struct.error):
            return False        # not provable

    def numbers(self) -> typing.Dict[str, Device]:
        """Return the devices by number."""
        return {each.number: each for each in self.devices.values()}


def loops(sys: str = '/sys', dev: str = '/dev') -> typing.List[Loop]:
    """Return the loop devices in use, and the device that each is on."""
    found = []
    for name in names('%s/block' % sys):
        path = attribute('%s/block/%s/loop/backing_file' % (sys, name))
        if name.startswith('loop') and path:
            found.append(Loop(
                name, _lies_on('%s/%s' % (dev, name)),
                attribute('%s/block/%s/ro' % (sys, name)) == b'1', path))
    return found


def _lies_on(path: str) -> str:
    """Return the device number of a loop's file, as the kernel knows it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK
                             | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ''
    try:
        if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
            return ''
        major, minor, _ = syscalls.loop_file(descriptor)
        return '%d:%d' % (major, minor)
    except OSError:
        return ''
    finally:
        os.close(descriptor)
