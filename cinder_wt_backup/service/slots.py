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

"""Waiting for a window: who is next, :mod:`fairness` decides."""

from __future__ import annotations

from collections.abc import Callable
import threading
import time

from cinder_wt_backup import exceptions
from cinder_wt_backup.service import fairness

# Seconds after which it is looked again: who takes long to open stops keeping
# others from the back end, and nobody tells.
LOOK_AGAIN = 1.0
PROGRESS = 60.0         # seconds between what is said of who waits


class Slots:
    """The windows that a process may have open at once.

    :param size: so many
    :param slow: seconds after which a guest counts as slow
    """

    def __init__(self, size: int, slow: float) -> None:
        self._fairness = fairness.Fairness(size, slow)
        self._lock = threading.Lock()
        self._told: dict[int, threading.Event] = {}     # by a turn's number
        self._looked = 0.0
        self._stopped = False

    def ask(self, wish: fairness.Wish) -> fairness.Turn:
        """Ask for one; it may have to be waited for."""
        with self._lock:
            turn = self._fairness.ask(wish, time.monotonic())
            self._told[turn.number] = threading.Event()
            self._give()
            return turn

    def wait(self, turn: fairness.Turn, timeout: float, option: str,
             tell: Callable[[float, fairness.Obstacle], object]) -> None:
        """Wait until it is somebody's turn, or known that it will never be.

        :param timeout: seconds
        :param option: what that is called in cinder.conf
        :param tell: is told each minute how many seconds that has taken, and
            why
        :raises NoSlot: the process has to end
        """
        began = time.monotonic()
        end, next_told = began + timeout, began + PROGRESS
        told = self._told.get(turn.number)
        while told and turn.given is None and not turn.refused:
            left = end - time.monotonic()
            if self._stopped:
                raise exceptions.NoSlot('cinder-backup was told to stop while '
                                        'this backup waited for a window')
            if left <= 0:
                self._refuse(turn, f'no window could be opened for {option} = '
                                   f'{timeout:.0f} s, since others were open')
                return
            turn.waited = True
            told.wait(min(LOOK_AGAIN, left))
            self._look_again()
            if time.monotonic() >= next_told and turn.given is None:
                next_told += PROGRESS
                tell(time.monotonic() - began, self._obstacle(turn))

    def note_cast(self, turn: fairness.Turn) -> None:
        """Note that its back end is asked for the snapshot."""
        self._change(turn, lambda now: self._fairness.note_cast(turn, now))

    def note_passed(self, turn: fairness.Turn, seen: fairness.Seen) -> None:
        """Note that its point in time has passed, or is waited for no more."""
        self._change(turn, lambda now: self._fairness.note_passed(
            turn, now, seen))
        if turn.given is None and seen is fairness.Seen.UNWATCHED:
            # Its back end was asked all the same.
            with self._lock:
                self._fairness.note_asked(turn, time.monotonic())

    def leave(self, turn: fairness.Turn) -> None:
        """Give it back, or wait for it no more; harmless when done twice."""
        with self._lock:
            self._told.pop(turn.number, None)
            if turn.state is not fairness.State.GONE:
                self._fairness.leave(turn, time.monotonic())
                self._give()

    def stop(self) -> None:
        """Have nobody wait any more, and nobody be given a window."""
        with self._lock:
            self._stopped = True
            for told in self._told.values():
                told.set()

    def _change(self, turn: fairness.Turn,
                change: Callable[[float], None]) -> None:
        """Note what has become of a turn; one without a window has nothing."""
        with self._lock:
            if turn.given is not None and (
                    turn.state is not fairness.State.GONE):
                change(time.monotonic())
                self._give()

    def _refuse(self, turn: fairness.Turn, why: str) -> None:
        with self._lock:
            if turn.given is None and not turn.refused:
                turn.refused = why
                self._fairness.leave(turn, time.monotonic())

    def _obstacle(self, turn: fairness.Turn) -> fairness.Obstacle:
        with self._lock:
            return self._fairness.obstacle(turn, time.monotonic())

    def _look_again(self) -> None:
        """Give windows once a second, whoever of those that wait does it."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOK_AGAIN:
                self._give()

    def _give(self) -> None:
        self._looked = time.monotonic()
        if self._stopped:
            return
        for turn in self._fairness.give(self._looked):
            if turn.number in self._told:
                self._told[turn.number].set()
