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

"""How many snapshots at once a storage back end takes: learnt by asking.

Some make one after the other, and tell of all of them when the last is done:
stock Cinder's RBD driver, in the one thread of cinder-volume. A guest would be
write-through for as long as all the others take. So who would have to wait at
the back end waits before his guest is changed.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
import math
import statistics

# Between no growth of the time with the number and as much: who waits for
# others. And what is nothing yet, seconds.
HALF_WAY, NOISE = 0.5, 0.25
# How many of the last are looked at, and how many there have to be: one alone
# may have been late for any reason.
KEPT, ENOUGH = 5, 3
# So many seconds it is not asked for more, after that was too many.
ASK_AGAIN = 120
# Who takes longer to open does not keep the back end from others: it may have
# much to drain, or be hostile.
OPENING = 5.0


class Backend:
    """One back end.

    :param most: how many are never exceeded
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = 1
        self._all_late = False
        self._seconds: dict[int, collections.deque[float]] = (
            collections.defaultdict(lambda: collections.deque(maxlen=KEPT)))
        self._no_more_until = 0.0
        self._busy_until = 0.0

    def has_room(self, opening: Sequence[float], cast: int,
                 now: float) -> bool:
        """Whether one more window may be opened for it.

        :param opening: for how long others have been opening, seconds
        :param cast: how many wait for their snapshots
        """
        if now < self._busy_until:
            return False
        soon = sum(seconds < OPENING for seconds in opening)
        # While as many as it takes are made, one may be got ready.
        return soon + cast < self._limit or (
            not soon and cast == self._limit)

    def note_asked(self, now: float) -> None:
        """Note that it was asked for a snapshot that nobody waits for.

        It is taken to be at it for as long as one mostly takes.
        """
        usual = self._usual()
        if math.isfinite(usual):
            self._busy_until = (max(now, self._busy_until)
                                + usual / self._limit)

    def note_duration(self, seconds: float, beside: int, now: float) -> None:
        """Learn from one snapshot.

        :param seconds: from asking for it until it was there; infinite: it
            was not by then
        :param beside: how many were asked for at once, this one included
        """
        if math.isinf(seconds):
            self._was_late(beside, now)
            return
        if self._all_late:
            self._all_late, self._limit = False, 1
            self._seconds.clear()
        seen = self._seconds[beside]
        seen.append(seconds)
        if beside < self._limit or (beside > 1 and len(seen) < ENOUGH):
            return
        if self._is_slower(beside):
            self._step_down(now)
            seen.clear()
        elif now >= self._no_more_until and self._limit < self._most:
            self._limit += 1

    def _was_late(self, beside: int, now: float) -> None:
        """Learn from one that was waited for in vain.

        Where even one alone is late, nothing is gained by waiting.
        """
        self._all_late |= beside <= 1
        if self._all_late:
            self._limit = min(self._limit + 1, self._most)
        else:
            self._step_down(now)

    def _step_down(self, now: float) -> None:
        self._limit = max(1, self._limit - 1)
        self._no_more_until = now + ASK_AGAIN

    def _is_slower(self, beside: int) -> bool:
        """Whether so many at once wait for each other.

        Compared with the number at which they were fastest: where they are
        made one after the other the time grows as their number does. The
        first of all may have come while the back end was busy otherwise.
        """
        usual = {number: statistics.median(seen) for number, seen
                 in self._seconds.items() if seen and number <= beside}
        best = min(usual, key=lambda number: usual[number])
        growth = 1 + HALF_WAY * (beside / best - 1)
        return usual[beside] > growth * usual[best] + NOISE

    def _usual(self) -> float:
        """Return how long one takes of those that it takes at once."""
        return min((statistics.median(seen) for seen
                    in self._seconds.values() if seen), default=math.inf)
