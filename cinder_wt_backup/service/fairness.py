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

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import enum
import itertools

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


@dataclasses.dataclass(eq=False)
class Turn:
    """Somebody's turn, which may still have to come.

    :ivar since: when it came to be in its state, seconds
    :ivar given: when it was given a window, seconds; None: it was not yet
    :ivar beside: how many were at its back end at once, itself included
    :ivar refused: why it will never come; empty: it may
    """

    wish: Wish
    number: int
    since: float
    state: State = State.WAITING
    given: float | None = None
    beside: int = 0
    refused: str = ''


class Fairness:
    """All windows of a process, and all who wait for one.

    Next is whose project has fewest, then whose compute host has fewest, then
    who came first. An instance that was slow comes after all that were not.
    The last quarter is for projects that have none; not for a host that has
    half of all, and not for who was slow. A back end gets as many at once as
    it is seen to stand.

    :param size: windows at once
    :param slow: seconds after which a guest counts as slow
    """

    def __init__(self, size: int, slow: float) -> None:
        self._size, self._slow_after = size, slow
        self._numbers = itertools.count()
        self._turns: list[Turn] = []
        self._slow: dict[str, float] = {}       # until when, by instance
        self._backends: dict[str, backends.Backend] = {}

    def ask(self, wish: Wish, now: float) -> Turn:
        """Take somebody on; may refuse whose project has most waiting."""
        turn = Turn(wish, next(self._numbers), now)
        self._turns.append(turn)
        self.give(now)
        waiting = self._those(State.WAITING)
        if len(waiting) > MOST_WAITING:
            last = max(waiting, key=lambda each: (
                _count(waiting, _project(each)), each.number))
            last.refused = (f'{MOST_WAITING} backups waited for a window, '
                            f'most of them of its project')
            self.leave(last, now)
        return turn

    def give(self, now: float) -> None:
        """Give windows to whose turn it is."""
        self._slow = {instance: until for instance, until
                      in self._slow.items() if until > now}
        while (waiting := [each for each in self._those(State.WAITING)
                           if self._may_have(each, now)]):
            first = min(waiting, key=self._order)
            first.given = now
            _enter(first, State.OPENING, now)

    def cast(self, turn: Turn, now: float) -> None:
        """Note that its back end is asked for the snapshot."""
        _enter(turn, State.CAST, now)
        there = [each for each in self._those(State.CAST)
                 if each.wish.backend == turn.wish.backend]
        for each in there:
            each.beside = max(each.beside, len(there))

    def passed(self, turn: Turn, now: float, learn: bool) -> None:
        """Note that its point in time has passed, or is waited for no more.

        :param learn: whether the back end's time for it means anything
        """
        if learn:
            self._backend(turn).took(now - turn.since, turn.beside, now)
        _enter(turn, State.CLOSING, now)

    def leave(self, turn: Turn, now: float) -> None:
        """Note that it has done with its window, or waits no more."""
        if turn.given is not None and now - turn.given > self._slow_after:
            self._slow.update(dict.fromkeys(
                turn.wish.instances, now + PASSED_OVER))
        _enter(turn, State.GONE, now)
        self._turns.remove(turn)

    def _those(self, *states: State) -> list[Turn]:
        return [each for each in self._turns if each.state in states]

    def _open(self) -> list[Turn]:
        return self._those(State.OPENING, State.CAST, State.CLOSING)

    def _backend(self, turn: Turn) -> backends.Backend:
        return self._backends.setdefault(turn.wish.backend,
                                         backends.Backend(self._size))

    def _is_slow(self, turn: Turn) -> bool:
        return not self._slow.keys().isdisjoint(turn.wish.instances)

    def _order(self, turn: Turn) -> tuple[bool, int, int, int]:
        return (self._is_slow(turn), self._of_project(turn),
                self._of_host(turn), turn.number)

    def _of_project(self, turn: Turn) -> int:
        return _count(self._open(), _project(turn))

    def _of_host(self, turn: Turn) -> int:
        return _count(self._open(), lambda each: not turn.wish.hosts
                      .isdisjoint(each.wish.hosts))

    def _may_have(self, turn: Turn, now: float) -> bool:
        opened = self._open()
        free = self._size - len(opened)
        if not free or any(each.wish.instances & turn.wish.instances
                           for each in opened):
            return False
        if self._is_slow(turn) and _count(opened, self._is_slow) >= max(
                1, self._size // SLOW_SHARE):
            return False
        if free <= self._size // RESERVE and (
                self._is_slow(turn) or self._of_project(turn)
                or self._of_host(turn) >= self._size // 2):
            return False
        there = [each for each in opened
                 if each.wish.backend == turn.wish.backend]
        return self._backend(turn).has_room(
            [(now - each.since) for each in there
             if each.state is State.OPENING],
            _count(there, lambda each: each.state is State.CAST), now)


def _enter(turn: Turn, state: State, now: float) -> None:
    turn.state, turn.since = state, now


def _project(turn: Turn) -> Callable[[Turn], bool]:
    """Return what tells whether another is of the same project."""
    return lambda each: each.wish.project == turn.wish.project


def _count(turns: Iterable[Turn], counts: Callable[[Turn], bool]) -> int:
    return sum(map(counts, turns))
