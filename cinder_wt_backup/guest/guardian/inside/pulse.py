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

"""A freeze and thaw at once: writers in progress are through afterwards.

Before Linux 6.0 write(2) looks at the flag when it begins. A freeze waits for
those that have begun. It can hang, and complete after its caller died: so a
child makes it, and its thaw is repeated by this process until the child is
gone, and once more.
"""

import errno
import os
import select
import time

from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import paths
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import syscalls
from cinder_wt_backup.guest.guardian.inside import ways
from cinder_wt_backup.guest.guardian.inside import work

LIMIT = 2.0                     # seconds until it is said to be late


class Pulse:
    """One pulse, from its child's start to its last thaw."""

    def __init__(self, record: journal.Record) -> None:
        self._record = record
        self._told, tell = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            _freeze_and_thaw(record, tell)
        os.close(tell)
        self._froze = True      # until it is known not to have

    def result(self) -> str:
        """Return what came of it, or that it is late."""
        ready, _, _ = select.select([self._told], [], [], LIMIT)
        if not ready:
            return protocol.Pulse.LATE
        told = os.read(self._told, 1)
        # A freeze of somebody else's must not be thawed by us. Only where
        # it froze and could not thaw, or was killed, the thaw goes on.
        self._froze = told in (b'f', b'')
        return {b'd': protocol.Pulse.DONE, b'b': protocol.Pulse.BUSY}.get(
            told, protocol.Pulse.FAILED)

    def over(self) -> bool:
        """Thaw once more, and whether that was the last time."""
        gone, _ = os.waitpid(self._child, os.WNOHANG)
        if self._froze:
            try:
                work.thaw(self._record)
            except (OSError, ways.LostError):
                pass
        if gone:
            os.close(self._told)
        return bool(gone)

    def finish(self) -> str:
        """Return the result; when it is late, the caller asks ``over``."""
        result = self.result()
        while result != protocol.Pulse.LATE and not self.over():
            time.sleep(0.005)
        return result


def _freeze_and_thaw(record: journal.Record, tell: int) -> None:
    """Freeze, thaw, tell: in the child."""
    told = b'e'
    try:
        with ways.found(record) as way:
            opened = paths.reopen(way.descriptor)
        syscalls.freeze(opened)
        told = b'f'
        syscalls.thaw(opened)
        told = b'd'
    except OSError as error:
        if told == b'e' and error.errno == errno.EBUSY:
            told = b'b'
    finally:
        os.write(tell, told)
        os._exit(0)
