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

"""The supervisor: holds the lock, the lease and the journal, and waits.

It never touches storage: what may hang is done by workers.
"""

import os
import select
import signal
import time
import typing

from cinder_wt_backup.guest.guardian.inside import channel
from cinder_wt_backup.guest.guardian.inside import drain
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import listener
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import reports
from cinder_wt_backup.guest.guardian.inside import syscalls
from cinder_wt_backup.guest.guardian.inside import team

Status = protocol.Status
Members = typing.List[team.Member]
Look = typing.Callable[[], typing.Tuple[reports.Mounts, typing.List[str]]]
UNDO_LIMIT = 4.0                # seconds of undoing before a first answer
HELP_AFTER = 0.5                # seconds without an answer: some hang
MAX_HELPERS = 4                 # that are added at once


class EndedError(Exception):
    """The window ends now: released, lapsed, told to, or a worker lost."""


class Supervisor:
    """One window's supervisor.

    :ivar lease_end: on the boot's clock
    :ivar released: by its host, in time, with nobody lost
    """

    def __init__(self, request: channel.Message, folder: journal.Folder,
                 lock: int) -> None:
        self.request, self.folder, self.lock = request, folder, lock
        self.lease_end = syscalls.boot_clock() + request['lease']
        self.members: Members = []
        self.thresholds: typing.List[journal.Threshold] = []
        self._freeze_end = 0.0
        self._ending = self.released = False
        self._helpers: typing.Dict[int, team.Member] = {}
        self._helped: typing.List[int] = []     # processes, once for each
        self._calls = listener.Listener(folder)
        self._wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)

    # What happens while it waits.

    def wait(self, seconds: float) -> None:
        """Wait for whatever comes first, and take it.

        :raises EndedError: the window ends now
        """
        every = self.members + list(self._helpers.values())
        alive = [each for each in every if not each.gone]
        ends = [self._wake, self._calls.fileno()] + [
            each.channel.fileno() for each in alive]
        ready, _, _ = select.select(ends, [], [], max(0, min(seconds, 1)))
        for each in alive:
            if each.channel.fileno() in ready:
                each.hear()
        if self._calls.fileno() in ready:
            self._calls.accept(self.request['token'])
        told = self._wake in ready and os.read(self._wake, 512)
        self._thaw_overdue()
        if self._ending:
            return
        if (told or self._calls.releases or any(each.gone for each in every)
                or syscalls.boot_clock() >= self.lease_end):
            self._ending = True
            self.released = bool(self._calls.releases) and not (
                told or any(each.gone for each in every)
                or syscalls.boot_clock() >= self.lease_end)
            raise EndedError()

    def ask(self, members: Members, what: str, seconds: float) -> None:
        """Have them do something; wait for those that answer in time."""
        for each in members:
            if not (each.busy or each.gone):
                each.tell(what)
        end = time.monotonic() + seconds
        while any(each.busy and not each.gone for each in members):
            left = end - time.monotonic()
            if left <= 0:
                return
            self.wait(left)

    def _thaw_overdue(self) -> None:
        """End a freeze of ours that nobody ended, every second."""
        if self._freeze_end and (self._calls.thawed or self._calls.releases):
            self._disarm()
        now = syscalls.boot_clock()
        if self._freeze_end and now >= self._freeze_end:
            self._freeze_end = now + 1
            for each in self.members:
                if not (each.busy or each.gone):
                    each.tell('thaw')

    def arm_thaw(self, seconds: float) -> None:
        """From now on, a freeze may come, and has an end.

        Workers know of it too, for when they are alone.

        :param seconds: in which they answer
        """
        self._freeze_end = syscalls.boot_clock() + self.request['freeze']
        for each in self.members:
            each.freeze_end = self._freeze_end
        self.ask(self.members, 'arm', seconds)

    def _disarm(self) -> None:
        """No freeze is ours any more."""
        self._freeze_end = 0.0
        for each in self.members:
            each.freeze_end = 0.0
            if not (each.busy or each.gone):
                each.tell('arm')

    # What is on record.

    def record(self) -> None:
        """Write the journal: what undoing takes, as it is now.

        :raises OSError: it could not be written
        """
        self.folder.write(journal.Journal(
            self.request['token'],
            [each.record for each in self.members if each.on_record],
            self.thresholds))

    def restore_thresholds(self) -> None:
        """Put them back; what could not be is tried again."""
        if drain.restore(self.thresholds):
            self.thresholds = []

    # The end.

    def serve(self) -> None:
        """Wait for the window's end."""
        try:
            while True:
                self.wait(1)
        except EndedError:
            pass

    def undo(self) -> bool:
        """Undo everything; whether everything was seen to be undone."""
        self._ending = True
        for each in self.members:
            if each.gone:
                _try(each.replace)
        for each in self.members:
            if each.busy != 'undo':     # one that hangs reads nothing
                each.tell('undo')
        self.restore_thresholds()
        end = time.monotonic() + UNDO_LIMIT
        while self._hear_undone(min(HELP_AFTER, end - time.monotonic())):
            pass                # as long as some answer, none may hang
        self._help()
        self._hear_undone(end - time.monotonic())
        return not self.thresholds and all(
            each.safe() for each in self.members) and not any(
            each.busy and not each.gone for each in self._helpers.values())

    def _hear_undone(self, seconds: float) -> bool:
        """Wait until all have answered; whether some did, but not all."""
        end = time.monotonic() + seconds
        every = self.members + list(self._helpers.values())

        def busy() -> int:
            return sum(bool(each.busy) and not each.gone for each in every)
        before = busy()
        while busy() and time.monotonic() < end:
            self.wait(end - time.monotonic())
        return 0 < busy() < before

    def _help(self) -> None:
        """Undo beside workers that hang; they stay on record until they end.

        What one hangs in may still set the flag: only it knows. Each time a
        few more get a helper, since each has memory of its own; one that has
        done what it can makes room.
        """
        for process, helper in list(self._helpers.items()):
            if helper.gone or not helper.busy:
                helper.dismiss()
                del self._helpers[process]
        hung = [each for each in self.members
                if each.busy and each.on_record
                and each.process not in self._helpers]
        hung.sort(key=lambda each: self._helped.count(each.process))
        for each in hung[:MAX_HELPERS]:
            _try(lambda: self._add_helper(each))

    def _add_helper(self, hung: team.Member) -> None:
        helper = team.left_over(hung.record, self.lock)
        self._helpers[hung.process] = helper
        self._helped.append(hung.process)
        helper.tell('undo')
        syscalls.lock_memory()  # also what it shared with the helper

    def linger(self, look: Look) -> None:
        """Go on undoing, and answering, until everything is undone.

        :param look: returns the mounts and remarks for an answer
        """
        pause = 0.5
        while not self.undo():
            if self._calls.releases:
                self.answer(Status.STUCK, *look())
            end = time.monotonic() + pause
            while time.monotonic() < end and not self._calls.releases:
                self.wait(end - time.monotonic())
            pause = min(10, pause * 2)

    def forget(self) -> None:
        """Let go of everything: all is undone."""
        self._calls.close()
        for each in self.members + list(self._helpers.values()):
            each.dismiss()
        self.folder.remove(self.lock)

    def answer(self, status: Status, mounts: reports.Mounts,
               remarks: typing.List[str]) -> None:
        """Answer who called.

        :param mounts: device, type and point of what is mounted now
        """
        self._calls.answer(dict(
            protocol.report_of(status, self.request['token']),
            released=self.released, remarks=remarks, mounts=mounts,
            filesystems=[reports.at_end(each) for each in self.members]))

    def has_callers(self) -> bool:
        """Whether somebody waits for a release's report."""
        return bool(self._calls.releases)


def _try(act: typing.Callable[[], None]) -> None:
    """Do it, or not: when no process can be made, it is tried again."""
    try:
        act()
    except OSError:
        pass
