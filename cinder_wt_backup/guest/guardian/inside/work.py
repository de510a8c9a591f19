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

"""What is done to one superblock, and what is seen of it."""

import contextlib
import errno
import os
import typing

from cinder_wt_backup.guest.guardian.inside import flag
from cinder_wt_backup.guest.guardian.inside import identity
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import mounts
from cinder_wt_backup.guest.guardian.inside import options
from cinder_wt_backup.guest.guardian.inside import paths
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import syscalls
from cinder_wt_backup.guest.guardian.inside import ways

State = protocol.State


def prepare(record: journal.Record) -> journal.Record:
    """Return the record with what was found: identity and options."""
    with ways.found(record) as way:
        kept = mounts.options_of(way.mount)
        name = identity.of(way.mount, way.descriptor)
        return record._replace(
            identity=name, process=way.process, options=kept,
            again=options.said_again(way.mount.type, kept),
            flag=bool(name) and way.mount.type in options.ALLOWED
            and not {'sync', 'ro'} & set(kept))


def state_of(kept: typing.List[str], ours: bool) -> protocol.State:
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
    with ways.found(record) as way:
        before = state_of(ways.options_now(way), ours=False)
    if before != State.WRITABLE:
        return before, False    # an admin was here first
    move(record, True)
    with ways.found(record) as way:
        return state_of(ways.options_now(way), ours=True), True


def move(record: journal.Record, sync: bool) -> None:
    """Move the flag, by the first mount where that moves nothing else.

    :raises ways.LostError: there is no mount
    :raises OSError: EOPNOTSUPP: none will do; nothing was tried
    """
    refused: Exception = ways.LostError()
    with contextlib.closing(ways.each_of(record)) as all_ways:
        for way in all_ways:
            try:
                _move_by(way, sync, record)
                return
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                refused = error
    raise refused


def _move_by(way: ways.Found, sync: bool, record: journal.Record) -> None:
    """Move the flag; put right what else moved."""
    row = ways.row_now(way)
    before = mounts.options_of(row)
    # mount(2) acts in the caller's namespace only.
    own = row if way.process == 'self' else None
    flag.move(way.descriptor, sync, 'ro' in before,
              options.said_again(record.type, before), own)
    lost = [change[1:] for change in options.changed(
        before, ways.options_now(way)) if change.startswith('-')]
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
        with ways.found(record) as way:
            return (state_of(ways.options_now(way), ours), way.process,
                    os.fsdecode(way.mount.point))
    except ways.LostError:
        return State.HIDDEN if ways.lives_on(record) else State.GONE, '', ''


def differences(record: journal.Record) -> typing.List[str]:
    """Return how the options differ from those on record."""
    with ways.found(record) as way:
        return options.changed(record.options, ways.options_now(way))


def flush(record: journal.Record) -> None:
    """Write everything; while it runs, the mount is busy."""
    with ways.found(record) as way:
        opened = paths.reopen(way.descriptor)
        try:
            syscalls.syncfs(opened)
        finally:
            os.close(opened)


def thaw(record: journal.Record) -> bool:
    """Thaw; whether it was frozen."""
    with ways.found(record) as way:
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
