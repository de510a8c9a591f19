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

"""The workers, as the supervisor sees them."""

import errno
import os
import typing

from cinder_wt_backup.guest.guardian.inside import channel
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import look
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import worker


class Member:
    """One superblock's worker.

    :ivar busy: what it was told to do and has not answered; empty: nothing
    :ivar facts: what its answers said, the newest of each kind
    :ivar errors: of what it could not do, by what that was
    :ivar thawed: whether a freeze of ours was overdue, and ended by us
    :ivar on_record: whether a flag of ours is, or may be, on it
    :ivar freeze_end: when a freeze of ours is overdue, on the boot's clock;
        0: none may come
    """

    def __init__(self, record: journal.Record, seen: look.FileSystem,
                 lock: int, ours: bool = False) -> None:
        self.record, self.seen = record, seen
        self._lock = lock
        self.on_record = ours
        self.gone = self.thawed = False
        self.facts: channel.Message = {}
        self.errors: typing.Dict[str, str] = {}
        self.busy = ''
        self.freeze_end = 0.0
        self.channel, self.process = worker.spawn(record, ours, [lock])

    def tell(self, what: str) -> None:
        """Have it do something, after what it is at."""
        self.busy = what
        self.facts.pop(what, None)      # what it said of it before is old
        if not self.channel.send({'do': what,
                                  'freeze_end': self.freeze_end}):
            self.gone = True

    def hear(self) -> None:
        """Take its answers, or learn that it has ended."""
        try:
            while not self.gone:
                message = self.channel.receive(0)
                if message is None:
                    self.gone = True
                else:
                    self._take(message)
        except TimeoutError:
            pass                # that was all, or not a whole line yet

    def _take(self, message: channel.Message) -> None:
        did = message.get('did', 'ready')
        if self.busy == did:
            self.busy = ''
        self.facts.update(message)
        if 'error' in message:
            self.errors[did] = message['error']
        else:
            self.errors.pop(did, None)
        self.thawed |= bool(message.get('thawed'))
        if 'record' in message:
            self.record = journal.Record(*message['record'])
        if did in ('engage', 'undo'):
            self._settle(message)

    def _settle(self, message: channel.Message) -> None:
        """Learn whether a flag of ours is on it: unless it was seen, yes."""
        if 'undo' in message:
            self.on_record = message['undo'] not in protocol.SAFE
        elif 'ours' in message:
            self.on_record = message['ours']

    def replace(self) -> None:
        """Put another worker in the place of one that has ended."""
        self.channel.close()
        self.channel, self.process = worker.spawn(
            self.record, self.on_record, [self._lock])
        self.gone, self.busy = False, ''

    def verdict(self) -> str:
        """Return what became of it in undoing."""
        if self.busy or self.gone:
            return protocol.Undo.UNKNOWN
        return str(self.facts.get('undo', protocol.Undo.STUCK))

    def safe(self) -> bool:
        """Whether nothing of ours is left on it, for sure."""
        return not (self.on_record or self.busy
                    ) and self.facts.get('undo') in protocol.SAFE

    def dismiss(self) -> None:
        """Let a worker end; wait for one that does not hang."""
        self.channel.send({'do': 'end', 'freeze_end': 0.0})
        self.channel.close()
        if not (self.busy or self.gone):
            reap(self.process)


def reap(process: int) -> None:
    """Wait for a child that is ending."""
    try:
        os.waitpid(process, 0)
    except OSError as error:
        if error.errno != errno.ECHILD:
            raise


def member(seen: look.FileSystem, lock: int) -> Member:
    """Return a new worker for what was seen."""
    return Member(journal.Record(seen.device, seen.type, '', seen.process,
                                 [], [], False, False), seen, lock)


def left_over(record: journal.Record, lock: int) -> Member:
    """Return a worker for what a journal says."""
    return Member(record, look.FileSystem(
        record.device, record.type, record.process, '', 0, ''), lock, True)
