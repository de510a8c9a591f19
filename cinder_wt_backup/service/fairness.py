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

"""Whose window is opened next: decided here, waited for in :mod:`slots`.

Nothing here waits or looks at a clock: who calls says what time it is, so a
simulation runs this very code (tests/reports/fairness).
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
import dataclasses
import enum
import itertools
import math

from cinder_wt_backup.service import backends

# Of all windows, the part that nobody gets who has one already, and the part
# that those get who were slow.
RESERVE = SLOW_SHARE = 4
PASSED_OVER = 300       # seconds for which somebody who was slow is
MOST_WAITING = 1000


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a window is wanted for.

    :ivar instances: that have the volume: a guest has one window at a time
    :ivar hosts: the compute hosts that run them, as attachments name them
    :ivar backend: what makes the snapshot
    """

    project: str
    instances: frozenset[str]
    hosts: frozenset[str]
    backend: str


class State(enum.Enum):
    """Where somebody is who wants a window."""

    WAITING = 'waiting'
    OPENING = 'opening'         # has it: the guests are being made consistent
    CAST = 'cast'               # the back end was asked for the snapshot
    CLOSING = 'closing'
    GONE = 'gone'               # has done with it, or given up


class Obstacle(enum.Enum):
    """Why somebody has no window yet, as a log says it."""

    INSTANCE = 'another window of its instance is open'
    SLOW = 'its instance was slow, and another slow one has a window'
    FULL = 'as many windows are open as may be (max_windows)'
    RESERVED = 'the last windows are kept for other projects and hosts'
    BACKEND = 'its back end makes as many snapshots at once as it takes'
    ORDER = 'others come first'


class Seen(enum.Enum):
    """What was seen of a snapshot that a back end was asked for."""

    MADE = 'made'
    LATE = 'late'               # not made when it was waited for no more
    UNWATCHED = 'unwatched'     # no guest waited for it
    UNKNOWN = 'unknown'         # nothing that tells about the back end


@dataclasses.dataclass(eq=False)
class Turn:
    """Somebody's turn, which may still have to come.

    :ivar since: when it came to be in its state, seconds
    :ivar given: when it was given a window, seconds; None: it was not yet
    :ivar guests: seconds for which its guests were waited for
    :ivar beside: how many were at its back end at once, itself included
    :ivar waited: whether it did not come at once
    :ivar refused: why it will never come; empty: it may
    """

    wish: Wish
    number: int
    since: float
    state: State = State.WAITING
    given: float | None = None
    guests: float = 0.0
    beside: int = 0
    waited: bool = False
    refused: str = ''

    def enter(self, state: State, now: float) -> None:
        """Come to be in another state."""
        if self.state in (State.OPENING, State.CLOSING):
            self.guests += now - self.since
        self.state, self.since = state, now


class _Shares:
    """Who has how much of the windows that are open."""

    def __init__(self, opened: Iterable[Turn]) -> None:
        self.projects: collections.Counter[str] = collections.Counter()
        self.hosts: collections.Counter[str] = collections.Counter()
        self.instances: set[str] = set()
        self.at_backend: dict[str, list[Turn]] = collections.defaultdict(list)
        for turn in opened:
            self.projects[turn.wish.project] += 1
            self.hosts.update(turn.wish.hosts)
            self.instances |= turn.wish.instances
            self.at_backend[turn.wish.backend].append(turn)

    def of_host(self, turn: Turn) -> int:
        return max((self.hosts[host] for host in turn.wish.hosts), default=0)


class Fairness:
    """All windows of a process, and all who wait for one.

    Next is whose project has fewest, then whose compute host has fewest, then
    who came first. An instance that was slow comes after all that were not.
    The last quarter is for projects that have none; nobody whose compute host
    has half of all gets one of these, and nobody who was slow. A back end gets
    as many at once as it is seen to take.

    :param size: windows at once
    :param slow: seconds after which a guest counts as slow
    """

    def __init__(self, size: int, slow: float) -> None:
        self._size, self._slow_after = size, slow
        self._numbers = itertools.count()
        self._waiting: dict[int, Turn] = {}     # by number
        self._opened: dict[int, Turn] = {}
        self._slow: dict[str, float] = {}       # until when, by instance
        self._backends: dict[str, backends.Backend] = {}

    def ask(self, wish: Wish, now: float) -> Turn:
        """Take somebody on; may refuse whose project has most waiting."""
        turn = Turn(wish, next(self._numbers), now)
        self._waiting[turn.number] = turn
        if len(self._waiting) > MOST_WAITING:
            self._refuse_one(now)
        return turn

    def give(self, now: float) -> list[Turn]:
        """Give windows to whose turn it is; return them."""
        self._slow = {instance: until for instance, until
                      in self._slow.items() if until > now}
        given = []
        while (turn := self._next(now)) is not None:
            del self._waiting[turn.number]
            self._opened[turn.number] = turn
            turn.given = now
            turn.enter(State.OPENING, now)
            given.append(turn)
        return given

    def note_cast(self, turn: Turn, now: float) -> None:
        """Note that its back end is asked for the snapshot."""
        turn.enter(State.CAST, now)
        there = [each for each in self._opened.values()
                 if each.state is State.CAST
                 and each.wish.backend == turn.wish.backend]
        for each in there:
            each.beside = max(each.beside, len(there))

    def note_passed(self, turn: Turn, now: float, seen: Seen) -> None:
        """Note that its point in time has passed, or is waited for no more."""
        if seen is Seen.UNWATCHED:
            self.note_asked(turn, now)
        elif seen is not Seen.UNKNOWN:
            self._backend(turn).note_duration(
                now - turn.since if seen is Seen.MADE else math.inf,
                turn.beside, now)
        turn.enter(State.CLOSING, now)

    def note_asked(self, turn: Turn, now: float) -> None:
        """Note that its back end was asked, and no guest waits for that."""
        self._backend(turn).note_asked(now)

    def leave(self, turn: Turn, now: float) -> None:
        """Note that it has done with its window, or waits no more."""
        turn.enter(State.GONE, now)
        if turn.guests > self._slow_after:
            self._slow.update(dict.fromkeys(
                turn.wish.instances, now + PASSED_OVER))
        self._waiting.pop(turn.number, None)
        self._opened.pop(turn.number, None)

    def _refuse_one(self, now: float) -> None:
        """Refuse the last of the project that has most waiting."""
        projects = collections.Counter(
            each.wish.project for each in self._waiting.values())
        last = max(self._waiting.values(), key=lambda each: (
            projects[each.wish.project], each.number))
        last.refused = (f'{MOST_WAITING} backups waited for a window, most of '
                        f'them of its project')
        self.leave(last, now)

    def obstacle(self, turn: Turn, now: float) -> Obstacle:
        """Return why a turn that waits has not come."""
        return (self._obstacle(turn, _Shares(self._opened.values()), now)
                or Obstacle.ORDER)

    def _next(self, now: float) -> Turn | None:
        if len(self._opened) >= self._size:
            return None
        shares = _Shares(self._opened.values())
        return min((turn for turn in self._waiting.values()
                    if self._obstacle(turn, shares, now) is None),
                   key=lambda turn: (
                       self._is_slow(turn), shares.projects[turn.wish.project],
                       shares.of_host(turn), turn.number), default=None)

    def _backend(self, turn: Turn) -> backends.Backend:
        return self._backends.setdefault(turn.wish.backend,
                                         backends.Backend(self._size))

    def _is_slow(self, turn: Turn) -> bool:
        return not self._slow.keys().isdisjoint(turn.wish.instances)

    def _obstacle(self, turn: Turn, shares: _Shares,
                  now: float) -> Obstacle | None:
        if shares.instances & turn.wish.instances:
            return Obstacle.INSTANCE
        free = self._size - len(self._opened)
        if free <= 0:
            return Obstacle.FULL
        is_slow = self._is_slow(turn)
        if is_slow and sum(map(self._is_slow, self._opened.values())) >= max(
                1, self._size // SLOW_SHARE):
            return Obstacle.SLOW
        if free <= self._size // RESERVE and (
                is_slow or shares.projects[turn.wish.project]
                or shares.of_host(turn) >= self._size // 2):
            return Obstacle.RESERVED
        return None if self._has_room(turn, shares, now) else Obstacle.BACKEND

    def _has_room(self, turn: Turn, shares: _Shares, now: float) -> bool:
        there = shares.at_backend.get(turn.wish.backend, [])
        return self._backend(turn).has_room(
            [now - each.since for each in there
             if each.state is State.OPENING],
            sum(each.state is State.CAST for each in there), now)
