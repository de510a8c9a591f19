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

"""What of the volume is mounted in this guest, in any namespace."""

import errno
import os
import time
import typing

from cinder_wt_backup.guest.guardian.inside import blocks
from cinder_wt_backup.guest.guardian.inside import identity
from cinder_wt_backup.guest.guardian.inside import journals
from cinder_wt_backup.guest.guardian.inside import mounts
from cinder_wt_backup.guest.guardian.inside import paths
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import syscalls
from cinder_wt_backup.guest.guardian.inside import users

Remark = protocol.Remark
FIRST_PID_NAMESPACE = 4026531836
MAX_LOOPS_DEEP = 4
ONE_NAMESPACE = 0.5             # seconds for one, so that others are seen

FileSystem = typing.NamedTuple('FileSystem', [
    ('device', str), ('type', str), ('process', str), ('point', str),
    ('depth', int), ('options', str)])
Seen = typing.NamedTuple('Seen', [
    ('disk', str), ('filesystems', typing.List[FileSystem]),
    ('loose', typing.List[str]), ('remarks', typing.List[str])])


class Look:
    """One look at everything, with an end.

    :param end: of the monotonic clock; own mounts are looked at all the same
    """

    def __init__(self, end: float, proc: str = '/proc', sys: str = '/sys',
                 dev: str = '/dev') -> None:
        self._end, self._proc, self._sys, self._dev = end, proc, sys, dev
        self._tree = blocks.Tree(sys, dev)
        self._found: typing.Dict[str, FileSystem] = {}
        self._btrfs: typing.Dict[str, int] = {}
        self._remarks: blocks.Remarks = set()

    def at(self, disk: str, tell: typing.Callable[[Seen], object]) -> None:
        """Look at what is on a disk.

        :param tell: is told twice: before what may hang, and at the end
        """
        self._tree.add(disk)
        self._add_mounts()
        for depth in range(1, MAX_LOOPS_DEEP + 1):
            if not self._add_loops(depth):
                break
            self._add_mounts()
        self._tree.look_below()
        if self._journals_are_apart():
            self._remarks.add(Remark.JOURNAL)
        loose = self._loose()
        self._remarks |= self._tree.remarks
        if not self._first_namespace():
            self._remarks.add(Remark.CONTAINER)
        tell(self._seen(disk, loose, {Remark.UNSEEN}))
        tell(self._seen(disk, loose, users.remarks(
            loose, self._end, self._proc, self._sys, self._dev)))

    def _seen(self, disk: str, loose: typing.List[blocks.Device],
              more: blocks.Remarks) -> Seen:
        found = sorted(self._found.values(),
                       key=lambda each: (-each.depth, each.device))
        return Seen(disk, found[:protocol.MAX_FILESYSTEMS],
                    [device.name for device in loose],
                    sorted(self._remarks | more | (
                        {Remark.UNSEEN} if len(found) >
                        protocol.MAX_FILESYSTEMS else set())))

    def _first_namespace(self) -> bool:
        try:
            return os.stat('%s/self/ns/pid' % self._proc
                           ).st_ino == FIRST_PID_NAMESPACE
        except OSError:
            return False

    def _add_mounts(self) -> None:
        """Add what is mounted: here, then in other namespaces."""
        self._btrfs_members()
        wanted = self._wanted()
        own = mounts.read('%s/self/mountinfo' % self._proc, wanted)
        self._add(own, 'self')
        seen = {self._namespace('self')}
        for process in blocks.names(self._proc):
            if not process.isdigit():
                continue
            if time.monotonic() > self._end:
                self._remarks.add(Remark.UNSEEN)
                return
            self._add_elsewhere(process, seen, wanted)

    def _add_elsewhere(self, process: str, seen: typing.Set[str],
                       wanted: mounts.Wanted) -> None:
        try:
            namespace = self._namespace(process)
            if namespace in seen:
                return
            found = mounts.read_once(
                '%s/%s/mountinfo' % (self._proc, process), wanted,
                min(self._end, time.monotonic() + ONE_NAMESPACE))
        except (FileNotFoundError, ProcessLookupError):
            return              # it has ended
        except OSError as error:
            # A process that ends has no namespaces any more (EINVAL).
            if error.errno != errno.EINVAL:
                self._remarks.add(Remark.UNSEEN)
            if isinstance(error, TimeoutError):
                seen.add(namespace)     # one of a user's takes all the time
            return
        seen.add(namespace)
        self._add(found, process)

    def _namespace(self, process: str) -> str:
        return os.readlink('%s/%s/ns/mnt' % (self._proc, process))

    def _wanted(self) -> mounts.Wanted:
        numbers = self._tree.numbers()
        return lambda mount: (mount.device in numbers
                              or mount.type in ('btrfs', 'bcachefs'))

    def _add(self, found: typing.List[mounts.Mount], process: str) -> None:
        numbers = self._tree.numbers()
        for mount in paths.preferred(found):
            if mount.device in self._found:
                continue
            device = numbers.get(mount.device)
            depth = (self._btrfs_depth(mount, process) if device is None
                     else device.depth)
            if depth >= 0:
                self._found[mount.device] = FileSystem(
                    mount.device, mount.type, process,
                    os.fsdecode(mount.point), depth, mount.super_options)

    def _btrfs_members(self) -> None:
        """Find the btrfs that have a device of ours, by their folders."""
        for name in blocks.names('%s/fs/btrfs' % self._sys):
            folder = '%s/fs/btrfs/%s' % (self._sys, name)
            members = set(blocks.names(folder + '/devices'))
            ours = [self._tree.devices[each] for each in members
                    if each in self._tree.devices]
            if ours:
                self._btrfs[folder] = max(each.depth for each in ours)
                if members - set(self._tree.devices):
                    self._remarks.add(Remark.SPANS)

    def _btrfs_depth(self, mount: mounts.Mount, process: str) -> int:
        """Return how deep a btrfs of ours lies; -1: it is not ours."""
        if mount.type != 'btrfs':
            self._remarks.add(Remark.UNSEEN)    # bcachefs: cannot be told
            return -1
        if not self._btrfs:
            return -1
        try:
            descriptor = paths.open_mount(mount, process)
        except OSError:
            return self._by_source(mount)
        try:
            folder = identity.folder_of(mount, descriptor, self._sys)
        except OSError:
            return self._by_source(mount)
        finally:
            os.close(descriptor)
        return self._btrfs.get(folder, -1)

    def _by_source(self, mount: mounts.Mount) -> int:
        """Of a hidden one, its source may still tell; else it is unseen."""
        name = os.path.basename(os.fsdecode(mount.source))
        if name in self._tree.devices:
            return self._tree.devices[name].depth
        self._remarks.add(Remark.UNSEEN)
        return -1

    def _add_loops(self, depth: int) -> bool:
        """Add loop devices on files of what was found; whether one was."""
        before = len(self._tree.devices)
        for loop in blocks.loops(self._sys, self._dev):
            if not self._is_ours(loop) or loop.name in self._tree.devices:
                continue
            if loop.read_only:
                continue        # holds nothing dirty
            self._remarks.add(Remark.LOOP)
            self._tree.add(loop.name, depth)
        return len(self._tree.devices) > before

    def _is_ours(self, loop: blocks.Loop) -> bool:
        """Whether a loop's file is on the volume; on btrfs, by its path."""
        if loop.on in self._found:
            return True
        if not loop.on.startswith('0:'):
            return False
        return any(each.type == 'btrfs' for each in self._found.values()
                   ) and self._file_is_ours(loop)

    def _file_is_ours(self, loop: blocks.Loop) -> bool:
        """Whether the file is on a btrfs of ours, seen by its path.

        The kernel names the subvolume's number, which no mount shows.
        """
        try:
            descriptor = os.open(loop.path, syscalls.O_PATH
                                 | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            self._remarks.add(Remark.UNSEEN)
            return False
        try:
            is_at = os.fstat(descriptor)
            number = paths.mount_id(descriptor)
        finally:
            os.close(descriptor)
        if loop.on != '%d:%d' % (os.major(is_at.st_dev),
                                 os.minor(is_at.st_dev)):
            self._remarks.add(Remark.UNSEEN)
            return False
        rows = mounts.read_once('%s/self/mountinfo' % self._proc,
                                lambda row: row.id == number)
        return any(row.device in self._found for row in rows)

    def _journals_are_apart(self) -> bool:
        found = self._found.values()
        return journals.are_apart(
            self._tree.devices, {each.device: each.type for each in found},
            [each.options for each in found if each.type == 'xfs'],
            self._proc, self._sys)

    def _loose(self) -> typing.List[blocks.Device]:
        """Return leaves that no file system is mounted from."""
        members = {name for folder in self._btrfs
                   for name in blocks.names(folder + '/devices')}
        mounted = set(self._found)
        return [device for device in self._tree.devices.values()
                if device.leaf and device.number not in mounted
                and not (device.name in members and any(
                    each.type == 'btrfs' for each in self._found.values()))]
