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

"""A window from its start to its end, in the order that makes it safe."""

import os
import time
import traceback
import typing

from cinder_wt_backup.guest.guardian.inside import apart
from cinder_wt_backup.guest.guardian.inside import channel
from cinder_wt_backup.guest.guardian.inside import drain
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import look
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import reports
from cinder_wt_backup.guest.guardian.inside import supervisor
from cinder_wt_backup.guest.guardian.inside import syscalls
from cinder_wt_backup.guest.guardian.inside import team

Remark = protocol.Remark
State = protocol.State
Status = protocol.Status
LOOK_BUDGET = 2.0               # seconds for namespaces and users elsewhere
LAST_BUDGET = 1.0               # the same, at the release
MARGIN = 1.0                    # seconds that the answer itself takes
# What a worker takes, and what must be left besides.
WORKER_KB, SPARE_KB = 4 << 10, 32 << 10


class RefusedError(Exception):
    """It cannot be done, and nothing was changed."""


class Window:
    """One window: what its supervisor does, one thing after another.

    :param tell: takes the report of the start; whether it was heard
    """

    def __init__(self, held: supervisor.Supervisor, disk: str,
                 tell: typing.Callable[[channel.Message], bool]) -> None:
        self._held, self._disk, self._tell = held, disk, tell
        self._request = held.request
        self._end = (time.monotonic() + float(self._request['limit'])
                     - MARGIN)
        self._remarks: typing.Set[str] = set()
        self._seen = look.Seen(disk, [], [], [])
        self._times: typing.Dict[str, int] = {}
        self._dirty = 0
        self._mounts: reports.Mounts = []

    def run(self) -> None:
        """Start, wait, undo, answer."""
        try:
            self._start()
        except RefusedError as error:
            self._held.undo()
            self._held.forget()
            self._tell(protocol.report_of(
                Status.UNABLE, self._request['token'], str(error)))
            return
        except supervisor.EndedError:
            pass                # released or lapsed while it was still at it
        except Exception:       # nobody foresaw it: undone all the same
            self._held.folder.note(traceback.format_exc())
        else:
            self._held.serve()
        self._finish()

    def _have_a_look(self, budget: float) -> typing.Optional[look.Seen]:
        return apart.look_at(self._disk, self._request, self._left(budget))

    def _left(self, most: float = 1e9) -> float:
        return max(0.05, min(most, self._end - time.monotonic()))

    def _start(self) -> None:
        for step in (self._look, self._prepare, self._drain,
                     self._engage_all, self._flush_the_rest, self._pulse,
                     self._look_again, self._see):
            began = time.monotonic()
            step()
            self._times[step.__name__.strip('_')] = int(
                1000 * (time.monotonic() - began))
        if self._freeze_is_expected():
            self._held.arm_thaw(self._left())
        if not self._tell(self._report()):
            raise supervisor.EndedError()       # its host will not know of it

    def _engage_all(self) -> None:
        """Inner file systems first: what they flush, the outer ones get."""
        for depth in sorted({each.seen.depth for each in self._held.members},
                            reverse=True):
            self._engage([each for each in self._held.members
                          if each.seen.depth == depth])

    def _see(self) -> None:
        self._held.ask(self._held.members, 'see', self._left())

    def _look(self) -> None:
        seen = self._have_a_look(LOOK_BUDGET)
        if seen is None:
            raise RefusedError('its mounts could not be read')
        self._seen = seen
        self._remarks.update(seen.remarks)
        workers = len(seen.filesystems) + supervisor.MAX_HELPERS
        if drain.available_kb() < WORKER_KB * workers + SPARE_KB:
            raise RefusedError('too little memory for %d file systems'
                               % len(seen.filesystems))

    def _prepare(self) -> None:
        """Take what undoing needs; nothing was changed until it is stored."""
        held = self._held
        try:
            for seen in self._seen.filesystems:
                held.members.append(team.member(seen, held.lock))
            # What it shares with its workers now becomes its own again.
            syscalls.lock_memory()
            held.ask(held.members, 'prepare', self._left(5))
            held.thresholds = self._thresholds()
            for each in held.members:
                each.on_record = each.record.flag
            held.record()
        except OSError as error:
            held.thresholds = []
            for each in held.members:
                each.on_record = False
            raise RefusedError(error.strerror or 'no journal')

    def _thresholds(self) -> typing.List[journal.Threshold]:
        self._dirty = drain.dirty_kb()
        if self._dirty <= drain.SMALL_KB or not self._request['drain']:
            return []
        return drain.thresholds()

    def _drain(self) -> None:
        """Have little dirty when the flag comes."""
        held = self._held
        if not held.thresholds:
            return
        drain.lower(held.thresholds)
        if not drain.wait(self._left(self._request['drain']), held.wait):
            self._remarks.add(Remark.LATE)
        held.ask(self._reachable(held.members), 'flush', self._left())
        held.restore_thresholds()

    @staticmethod
    def _reachable(members: supervisor.Members) -> supervisor.Members:
        """Return those that are writable and were found."""
        return [each for each in members if each.record.options
                and 'ro' not in each.record.options]

    def _engage(self, members: supervisor.Members) -> None:
        """Flag, see, then flush: what was dirty before the flag."""
        held = self._held
        held.ask([each for each in members if each.on_record], 'engage',
                 self._left())
        if any(each.record.flag and not each.on_record for each in members):
            held.record()       # an admin's own sync must stay
        held.ask(self._reachable(members), 'flush', self._left())

    def _flush_the_rest(self) -> None:
        """Flush what has no file system, and what cannot be reached."""
        hidden = any(not each.record.options for each in self._held.members)
        if not apart.flush(self._seen.loose, hidden, self._left()):
            self._remarks.add(Remark.UNFLUSHED)

    def _pulse(self) -> None:
        """Drain writers that began before the flag."""
        wish = self._request['pulse']
        if wish == protocol.PulseWish.NEVER:
            return
        if wish == protocol.PulseWish.ALWAYS or syscalls.kernel() < (6, 0):
            members = [each for each in self._held.members if each.on_record]
            self._note_pulse(members, True)
            self._held.ask(members, 'pulse', self._left())
            self._note_pulse([each for each in members
                              if not each.busy and each.facts.get('pulse')
                              != protocol.Pulse.LATE], False)

    def _note_pulse(self, members: supervisor.Members, at_it: bool) -> None:
        """Have on record that a freeze may be ours: so undoing ends it."""
        for each in members:
            each.record = each.record._replace(pulse=at_it)
        self._held.record()

    def _look_again(self) -> None:
        """See what is mounted now."""
        seen = self._have_a_look(LAST_BUDGET)
        self._mounts = reports.mounts_of(seen)
        self._remarks.update(seen.remarks if seen else [Remark.UNSEEN])

    def _freeze_is_expected(self) -> bool:
        """Whether a host that follows its own wish freezes after this."""
        wish = self._request['barrier']
        return bool(wish == protocol.BarrierWish.ALWAYS
                    or wish == protocol.BarrierWish.UNFLAGGED and any(
                        reports.at_start(each)['state'] == State.WRITABLE
                        for each in self._held.members))

    def _report(self) -> channel.Message:
        return dict(
            protocol.report_of(Status.DONE, self._request['token']),
            kernel=os.uname().release, disk=self._disk, ms=self._times,
            dirty_kb=self._dirty, armed=self._freeze_is_expected(),
            remarks=sorted(self._remarks), mounts=self._mounts,
            filesystems=[reports.at_start(each)
                         for each in self._held.members])

    def _finish(self) -> None:
        """Undo first; look and answer afterwards."""
        held = self._held
        held.linger(self._last_look)
        last = self._last_look() if held.has_callers() else ([], [])
        held.forget()
        held.answer(Status.DONE if held.released else Status.LAPSED, *last)

    def _last_look(self) -> typing.Tuple[reports.Mounts,
                                         typing.List[str]]:
        """Return what is mounted, and remarks, after the undoing."""
        seen = apart.look_at(self._disk, self._request, LAST_BUDGET)
        return (reports.mounts_of(seen),
                seen.remarks if seen else [Remark.UNSEEN])
