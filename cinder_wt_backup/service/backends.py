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

"""How many snapshots at once a storage back end stands: learnt by asking.

Some make one after the other, and tell of all of them when the last is done:
stock Cinder's RBD driver, in the one thread of cinder-volume. A guest would be
write-through for as long as all the others take. So who would have to wait at
the back end waits before his guest is changed.
"""

from __future__ import annotations

from collections.abc import Sequence

# What takes this much longer beside others than alone waits for them.
GROWTH, NOISE = 1.5, 0.25       # times, seconds
# So long it is not asked for more again, after that was too many.
ASK_AGAIN = 600
# Who takes longer to open does not keep the back end from others: it may have
# much to drain, or be hostile.
OPENING = 5.0
WEIGHT = 0.25                   # of what was seen last


class Backend:
    """One back end.

    :param most: how many are never exceeded
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = 1
        self._alone: float | None = None
        self._asked_again = 0.0

    def has_room(self, opening: Sequence[float], cast: int,
                 now: float) -> bool:
        """Whether one more window may be opened for it.

        :param opening: for how long others have been opening, seconds
        :param cast: how many wait for their snapshots
        """
        soon = sum(seconds < OPENING for seconds in opening)
        # While as many as it stands are made, one may be got ready.
        return soon + cast < self._limit or (
            not soon and cast == self._limit)

    def took(self, seconds: float, beside: int, now: float) -> None:
        """Learn from one snapshot.

        :param seconds: from asking for it until it was there
        :param beside: how many were asked for at once, this one included
        """
        if beside <= 1:
            self._alone = seconds if self._alone is None else (
                WEIGHT * seconds + (1 - WEIGHT) * self._alone)
        elif self._alone is None:
            return
        elif seconds > GROWTH * self._alone + NOISE:
            self._limit = max(1, min(self._limit, beside - 1))
            self._asked_again = now + ASK_AGAIN
            return
        if beside >= self._limit and now >= self._asked_again:
            self._limit = min(self._limit + 1, self._most)
