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

"""How the flag is taken away again, and what was seen of it afterwards."""

import errno
import os
import time

from cinder_wt_backup.guest.guardian.inside import flag
from cinder_wt_backup.guest.guardian.inside import identity
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import ways
from cinder_wt_backup.guest.guardian.inside import work

Undo = protocol.Undo
PAUSES = (0.0, 0.05, 0.2, 0.5, 1.0)     # somebody may freeze it a moment


def undo(record: journal.Record) -> protocol.Undo:
    """Take the flag away, look afterwards, and say what was seen."""
    result = Undo.STUCK
    for pause in PAUSES:
        time.sleep(pause)
        try:
            result = _undo(record)
        except ways.LostError:
            result = Undo.STUCK
        except OSError as error:
            result = (Undo.FROZEN if error.errno == errno.EBUSY
                      else Undo.STUCK)
        if result in protocol.SAFE:
            break
    return result


def _undo(record: journal.Record) -> protocol.Undo:
    if identity.lives(record.identity) is False:
        return Undo.OTHER
    try:
        with ways.found(record) as way:
            if 'sync' not in ways.options_now(way):
                return Undo.ABSENT
        work.move(record, False)
        with ways.found(record) as way:
            return (Undo.STUCK if 'sync' in ways.options_now(way)
                    else Undo.UNDONE)
    except ways.LostError:
        return _undo_unmounted(record)


def _undo_unmounted(record: journal.Record) -> protocol.Undo:
    """Undo what was unmounted lazily and is held by an open folder.

    Without a mount there are no options to read, but the kernel says in
    statfs whether it is synchronous.
    """
    for folder in ways.open_roots(record):
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
    return Undo.STUCK if ways.lives_on(record) else Undo.OTHER
