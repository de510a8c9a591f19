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

"""Ways to one superblock: its mounts, in any namespace, found anew each time.

Nothing is held between two acts: a descriptor would keep it from being
unmounted, and a context would let ``umount`` return too early.
"""

import contextlib
import errno
import os
import stat
import time
import typing

from cinder_wt_backup.guest.guardian.inside import identity
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import mounts
from cinder_wt_backup.guest.guardian.inside import paths

MAX_PROCESSES = 100000
ELSEWHERE_BUDGET = 1.0          # seconds for other namespaces


class LostError(Exception):
    """No way leads to the superblock."""


Found = typing.NamedTuple('Found', [
    ('mount', mounts.Mount), ('descriptor', int), ('process', str)])


def _ways(record: journal.Record) -> typing.Iterator[Found]:
    """Yield each checked descriptor of a superblock, our own mounts first."""
    end = time.monotonic() + ELSEWHERE_BUDGET
    for process in _processes(record.process):
        try:
            found = mounts.of_device(
                '/proc/%s/mountinfo' % process, record.device,
                mounts.NEVER if process == 'self' else end)
        except OSError:
            if process == 'self':
                raise
            continue
        for mount in paths.preferred(found):
            try:
                yield Found(mount, paths.open_mount(mount, process), process)
            except OSError:
                continue


def _processes(first: str) -> typing.Iterator[str]:
    """Yield one process of each mount namespace, that on record early."""
    seen: typing.Set[str] = set()
    others = (name for name in os.listdir('/proc') if name.isdigit())
    for process in ['self', first] + sorted(others, key=int)[:MAX_PROCESSES]:
        try:
            namespace = os.readlink('/proc/%s/ns/mnt' % process)
        except OSError:
            continue
        if namespace not in seen:
            seen.add(namespace)
            yield process


def each_of(record: journal.Record
            ) -> typing.Generator[Found, None, None]:
    """Lend a descriptor of each mount of the superblock on record."""
    for way in _ways(record):
        try:
            if not record.identity or identity.of(
                    way.mount, way.descriptor,
                    known=record.identity) == record.identity:
                yield way
        finally:
            os.close(way.descriptor)


@contextlib.contextmanager
def found(record: journal.Record) -> typing.Iterator[Found]:
    """Lend a descriptor of the superblock on record, and its mount.

    :raises LostError: no mount is of that superblock
    :raises OSError: mounts could not be read
    """
    with contextlib.closing(each_of(record)) as ways:
        for way in ways:
            yield way
            return
    raise LostError()


def row_now(way: Found) -> mounts.Mount:
    """Return what a mount that is held by its descriptor is now."""
    rows = mounts.of_id('/proc/%s/mountinfo' % way.process,
                        paths.mount_id(way.descriptor))
    if len(rows) != 1:
        raise LostError()
    return rows[0]


def options_now(way: Found) -> typing.List[str]:
    return mounts.options_of(row_now(way))


def lives_on(record: journal.Record) -> bool:
    """Whether the superblock is there; unless it was seen not to be, it is.

    FAT has no folder in sysfs: it is there while it is listed.
    """
    lives = identity.lives(record.identity)
    return _is_listed(record) if lives is None else lives


def _is_listed(record: journal.Record) -> bool:
    end = time.monotonic() + ELSEWHERE_BUDGET
    for process in _processes(record.process):
        try:
            rows = mounts.of_device('/proc/%s/mountinfo' % process,
                                    record.device, end)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL):
                continue        # it has ended
            return True
        if any(row.type == record.type
               and identity.by_options(row) == record.identity
               for row in rows):
            return True
    return False


def open_roots(record: journal.Record) -> typing.Iterator[int]:
    """Yield the root of that device, by folders that processes have open."""
    for process in os.listdir('/proc'):
        if not process.isdigit():
            continue
        for name in ('cwd', 'root'):
            yield from _root_by('/proc/%s/%s' % (process, name), record)
        try:
            names = os.listdir('/proc/%s/fd' % process)
        except OSError:
            continue
        for name in names:
            yield from _root_by('/proc/%s/fd/%s' % (process, name), record)


def _root_by(link: str, record: journal.Record) -> typing.Iterator[int]:
    """Yield the root above an open folder, if it is that superblock's."""
    try:
        at = os.open(link, paths.ROOT)
    except OSError:
        return
    while True:
        is_at = os.fstat(at)
        device = '%d:%d' % (os.major(is_at.st_dev), os.minor(is_at.st_dev))
        if device != record.device or not stat.S_ISDIR(is_at.st_mode):
            break
        above = os.open('..', paths.ROOT, dir_fd=at)
        if os.path.samestat(os.fstat(above), is_at):
            os.close(above)
            yield at            # whoever takes it closes it
            return
        os.close(at)
        at = above
    os.close(at)
