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


class Slots:
    """The windows that a process may have open at once.

    :param size: so many
    :param slow: seconds after which a guest counts as slow
    """

    def __init__(self, size: int, slow: float) -> None:
        self._fairness = fairness.Fairness(size, slow)
        self._changed = threading.Condition()
        self._stopped = False

    def ask(self, wish: fairness.Wish) -> fairness.Turn:
        """Ask for one; it may have to be waited for."""
        with self._changed:
            return self._fairness.ask(wish, time.monotonic())

    def wait(self, turn: fairness.Turn, timeout: float) -> None:
        """Wait for it.

        :param timeout: seconds
        :raises NoSlot: it did not come in time, or the process has to end
        """
        end = time.monotonic() + timeout
        with self._changed:
            while turn.given is None:
                now = time.monotonic()
                if self._stopped:
                    turn.refused = 'cinder-backup was told to stop'
                elif now >= end:
                    turn.refused = (f'no window could be opened for '
                                    f'queue_timeout = {timeout:.0f} s, since '
                                    f'others were open')
                if turn.refused:
                    raise exceptions.NoSlot(turn.refused)
                self._changed.wait(min(LOOK_AGAIN, end - now))
                self._fairness.give(time.monotonic())

    # Of one that was refused there is nothing to note.

    def cast(self, turn: fairness.Turn) -> None:
        """Note that its back end is asked for the snapshot."""
        if turn.given is not None:
            self._change(lambda now: self._fairness.cast(turn, now))

    def passed(self, turn: fairness.Turn, learn: bool) -> None:
        """Note that its point in time has passed, or is waited for no more.

        :param learn: whether the back end's time for it means anything
        """
        if turn.given is not None:
            self._change(lambda now: self._fairness.passed(turn, now, learn))

    def leave(self, turn: fairness.Turn) -> None:
        """Give it back, or wait for it no more; harmless when done twice."""
        if turn.state is not fairness.State.GONE:
            self._change(lambda now: self._fairness.leave(turn, now))

    def stop(self) -> None:
        """Have nobody wait any more."""
        self._stopped = True
        self._change(lambda now: None)

    def _change(self, change: Callable[[float], None]) -> None:
        with self._changed:
            change(time.monotonic())
            self._fairness.give(time.monotonic())
            self._changed.notify_all()
