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

"""Tenants of one cinder-backup, simulated: whose backups have to wait.

The clock is simulated, and so are guests and the back end. Who is next is
decided by the package's own code.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import functools
import heapq
import itertools

from cinder_wt_backup import conf
from cinder_wt_backup.service import fairness

SIZE = 16
# Of a guest that answers: seconds until it is consistent, and put back.
OPENING, CLOSING = 1.1, 0.6
SNAPSHOT = 1.0
HOSTS = 4
HOSTILE_PROJECTS, HONEST_PROJECTS = 2, 4


@dataclasses.dataclass
class Backup:
    """One backup, and when what happened to it, seconds.

    :ivar hostile: its guest answers everything at the last moment
    """

    wish: fairness.Wish
    hostile: bool
    asked: float
    given: float = 0.0
    cast: float = 0.0
    passed: float = 0.0

    @property
    def waited(self) -> float:
        return self.given - self.asked


class Cloud:
    """A cinder-backup with its tenants.

    :param settings: how long a hostile guest may take
    :param serial: whether the back end makes one snapshot after the other,
        and tells of all of them when the last is done
    """

    def __init__(self, settings: conf.Settings, serial: bool = True) -> None:
        self._settings, self._serial = settings, serial
        self._fair = fairness.Fairness(SIZE, settings.opening_timeout / 2)
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._free_from = 0.0
        self._asked: list[tuple[fairness.Turn, Backup]] = []
        self._pending: list[tuple[fairness.Turn, Backup]] = []
        self.done: list[Backup] = []

    def add(self, number: int, hostile: bool, at: float) -> None:
        """Have a backup of a volume of its own requested."""
        kind, projects = (('hostile', HOSTILE_PROJECTS) if hostile
                          else ('honest', HONEST_PROJECTS))
        wish = fairness.Wish(
            f'{kind} {number % projects}', frozenset({f'{kind} {number}'}),
            frozenset({f'host {number % HOSTS}'}), 'ceph')
        self._at(at, lambda: self._ask(Backup(wish, hostile, at)))

    def run(self, end: float) -> None:
        """Have so many seconds pass."""
        for second in range(int(end)):
            self._at(second, lambda: None)
        while self._events and self._events[0][0] <= end:
            self._now, _, event = heapq.heappop(self._events)
            event()
            self._fair.give(self._now)
            self._open()

    def _at(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        self._at(self._now + seconds, event)

    def _ask(self, backup: Backup) -> None:
        self._asked.append((self._fair.ask(backup.wish, self._now), backup))
        self._fair.give(self._now)

    def _open(self) -> None:
        """Open the windows of those whose turn it is."""
        for entry in [each for each in self._asked
                      if each[0].given is not None]:
            self._asked.remove(entry)
            turn, backup = entry
            backup.given = self._now
            self._after(self._settings.opening_timeout if backup.hostile
                        else OPENING,
                        functools.partial(self._cast, turn, backup))

    def _cast(self, turn: fairness.Turn, backup: Backup) -> None:
        self._fair.note_cast(turn, self._now)
        backup.cast = self._now
        if not self._serial:
            self._after(SNAPSHOT, lambda: self._passed(turn, backup))
            return
        self._free_from = max(self._free_from, self._now) + SNAPSHOT
        self._pending.append((turn, backup))
        self._at(self._free_from, self._tell)

    def _tell(self) -> None:
        """Tell of all snapshots, if no other is to be made."""
        if self._now >= self._free_from:
            told, self._pending = self._pending, []
            for each in told:
                self._passed(*each)

    def _passed(self, turn: fairness.Turn, backup: Backup) -> None:
        self._fair.note_passed(
            turn, self._now, fairness.Seen.UNWATCHED if backup.hostile
            else fairness.Seen.MADE)
        backup.passed = self._now
        self._after(self._settings.closing_timeout if backup.hostile
                    else CLOSING, lambda: self._leave(turn, backup))

    def _leave(self, turn: fairness.Turn, backup: Backup) -> None:
        self._fair.leave(turn, self._now)
        self.done.append(backup)
        if backup.hostile:      # and at once once more
            self._ask(dataclasses.replace(backup, asked=self._now))


def simulate(settings: conf.Settings, hostile: int, honest: int,
             serial: bool = True, every: float = 5.0,
             seconds: float = 900) -> list[Backup]:
    """Return what came of the honest backups, of those that are made by then.

    The hostile ones are all requested at first and again as soon as they are
    made; of the honest ones, one ``every`` so many seconds.
    """
    cloud = Cloud(settings, serial)
    for number in range(hostile):
        cloud.add(number, hostile=True, at=0)
    for number in range(honest):
        cloud.add(number, hostile=False, at=1 + every * number)
    cloud.run(seconds)
    return [backup for backup in cloud.done if not backup.hostile]
