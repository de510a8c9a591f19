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

"""What is done to one superblock: each act finds it anew and lets it go.

Nothing is held between two acts: a descriptor would keep it from being
unmounted, and a context would let ``umount`` return too early.
"""

import contextlib
import errno
import os
import stat
import time
import typing

from cinder_wt_backup.guest.guardian.inside import flag
from cinder_wt_backup.guest.guardian.inside import identity
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import mounts
from cinder_wt_backup.guest.guardian.inside import options
from cinder_wt_backup.guest.guardian.inside import paths
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import syscalls

State = protocol.State
Undo = protocol.Undo
PAUSES = (0.0, 0.05, 0.2, 0.5, 1.0)     # somebody may freeze it a moment
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


def _same(record: journal.Record
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
    with contextlib.closing(_same(record)) as ways:
        for way in ways:
            yield way
            return
    raise LostError()


def _row_now(way: Found) -> mounts.Mount:
    """Return what a mount that is held by its descriptor is now."""
    rows = mounts.of_id('/proc/%s/mountinfo' % way.process,
                        paths.mount_id(way.descriptor))
    if len(rows) != 1:
        raise LostError()
    return rows[0]


def _options_now(way: Found) -> typing.List[str]:
    return mounts.options_of(_row_now(way))


def prepare(record: journal.Record) -> journal.Record:
    """Return the record with what was found: identity and options."""
    with found(record) as way:
        kept = mounts.options_of(way.mount)
        name = identity.of(way.mount, way.descriptor)
        return record._replace(
            identity=name, process=way.process, options=kept,
            again=options.said_again(way.mount.type, kept),
            flag=bool(name) and way.mount.type in options.ALLOWED
            and not {'sync', 'ro'} & set(kept))


def state_of(kept: typing.List[str], ours: bool) -> str:
    """Return the state that options show."""
    if 'ro' in kept:
        return State.READ_ONLY
    if 'sync' in kept:
        return State.FLAGGED if ours else State.SYNC
    return State.WRITABLE


def engage(record: journal.Record) -> typing.Tuple[str, bool]:
    """Set the flag and look; return the state, and whether it was moved.

    :raises OSError: it could not be set
    """
    with found(record) as way:
        before = state_of(_options_now(way), ours=False)
    if before != State.WRITABLE:
        return before, False    # an admin was here first
    _move(record, True)
    with found(record) as way:
        return state_of(_options_now(way), ours=True), True


def _move(record: journal.Record, sync: bool) -> None:
    """Move the flag, by the first mount where that moves nothing else.

    :raises LostError: there is no mount
    :raises OSError: EOPNOTSUPP: none will do; nothing was tried
    """
    refused: Exception = LostError()
    with contextlib.closing(_same(record)) as ways:
        for way in ways:
            try:
                _move_by(way, sync, record)
                return
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                refused = error
    raise refused


def _move_by(way: Found, sync: bool, record: journal.Record) -> None:
    """Move the flag; put right what else moved."""
    row = _row_now(way)
    before = mounts.options_of(row)
    # mount(2) acts in the caller's namespace only.
    own = row if way.process == 'self' else None
    flag.move(way.descriptor, sync, 'ro' in before,
              options.said_again(record.type, before), own)
    lost = [change[1:] for change in options.changed(
        before, _options_now(way)) if change.startswith('-')]
    if lost:
        flag.move(way.descriptor, sync, 'ro' in before, lost, own)


def view(record: journal.Record, ours: bool) -> typing.Tuple[str, str, str]:
    """Return the state as it is now, who sees it, and where.

    That is a path that was seen to lead there; both are empty where none does.
    """
    lives = not record.identity or identity.lives(record.identity)
    if lives is False:
        return State.GONE, '', ''
    try:
        with found(record) as way:
            return (state_of(_options_now(way), ours), way.process,
                    os.fsdecode(way.mount.point))
    except LostError:
        return State.HIDDEN if _lives(record) else State.GONE, '', ''


def differences(record: journal.Record) -> typing.List[str]:
    """Return how the options differ from those on record."""
    with found(record) as way:
        return options.changed(record.options, _options_now(way))


def flush(record: journal.Record) -> None:
    """Write everything; while it runs, the mount is busy."""
    with found(record) as way:
        opened = paths.reopen(way.descriptor)
        try:
            syscalls.syncfs(opened)
        finally:
            os.close(opened)


def thaw(record: journal.Record) -> bool:
    """Thaw; whether it was frozen."""
    with found(record) as way:
        opened = paths.reopen(way.descriptor)
        try:
            syscalls.thaw(opened)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
        finally:
            os.close(opened)
    return True


def undo(record: journal.Record) -> str:
    """Take the flag away, look afterwards, and say what was seen."""
    result = Undo.STUCK
    for pause in PAUSES:
        time.sleep(pause)
        try:
            result = _undo(record)
        except LostError:
            result = Undo.STUCK
        except OSError as error:
            result = (Undo.FROZEN if error.errno == errno.EBUSY
                      else Undo.STUCK)
        if result in Undo.SAFE:
            break
    return result


def _undo(record: journal.Record) -> str:
    if identity.lives(record.identity) is False:
        return Undo.OTHER
    try:
        with found(record) as way:
            if 'sync' not in _options_now(way):
                return Undo.ABSENT
        _move(record, False)
        with found(record) as way:
            return (Undo.STUCK if 'sync' in _options_now(way)
                    else Undo.UNDONE)
    except LostError:
        return _undo_unmounted(record)


def _undo_unmounted(record: journal.Record) -> str:
    """Undo what was unmounted lazily and is held by an open folder.

    Without a mount there are no options to read, but the kernel says in
    statfs whether it is synchronous.
    """
    for folder in _open_folders(record):
        try:
            now = os.fstatvfs(folder).f_flag
            flag.move(folder, False, bool(now & os.ST_RDONLY)
                      or 'ro' in record.options, record.again)
            if not os.fstatvfs(folder).f_flag & os.ST_SYNCHRONOUS:
                return Undo.UNDONE
        except OSError:
            continue
        finally:
            os.close(folder)
    return Undo.STUCK if _lives(record) else Undo.OTHER


def _lives(record: journal.Record) -> bool:
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


def _open_folders(record: journal.Record) -> typing.Iterator[int]:
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
