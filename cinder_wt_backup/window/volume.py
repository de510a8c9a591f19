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

"""The window: lock, look, lease, drain, engage ─ point in time ─ release."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import threading
import time
import uuid

from oslo_log import log as logging

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import reach
from cinder_wt_backup import plain
from cinder_wt_backup import steps
from cinder_wt_backup.window import guest as guest_window

LOG = logging.getLogger(__name__)

CRASH = claims.Level.CRASH
# How often it is looked whether the point in time has passed, seconds.
POLL = 0.1


class Window:
    """The time in which all guests of one volume are consistent.

    Opened, waited for and closed by one thread.

    :param lock: keeps others away from an instance meanwhile
    :param before_freeze: is told the token before a guest is frozen
    :ivar token: its name, in the guests and on record
    :ivar passed: to be set when the point in time has passed
    :ivar late: whether that was waited for in vain
    """

    def __init__(self, targets: Sequence[reach.Target],
                 settings: conf.Settings, lock: guest_window.Lock,
                 before_freeze: Callable[[str], None] = lambda token: None,
                 ) -> None:
        self.token = uuid.uuid4().hex
        self._settings = settings
        self._guests = [
            guest_window.GuestWindow(target, self.token, settings, lock,
                                     lambda: before_freeze(self.token))
            for target in targets]
        self._not_covered = 'the snapshot was not seen to be finished'
        self._opened = 0.0
        self._given_up = ''
        self.passed = threading.Event()
        self.late = False

    @property
    def exempt(self) -> bool:
        """Whether every instance is shut off."""
        return all(guest.shut_off for guest in self._guests)

    @property
    def engaged(self) -> bool:
        """Whether a guest was made consistent."""
        return any(guest.engaged for guest in self._guests)

    @property
    def covered(self) -> bool:
        """Whether a guest was so when the point in time passed."""
        return self.engaged and not self._not_covered

    @property
    def longest_opening(self) -> int:
        """Seconds after which the last guest's lease has begun, if any.

        For each, the lock and its own time.
        """
        return len(self._guests) * (self._settings.lock_timeout
                                    + self._settings.opening_timeout)

    @property
    def round_trips(self) -> int:
        """How many messages the guests' agents were sent."""
        return sum(guest.round_trips for guest in self._guests)

    @property
    def left_changed(self) -> bool:
        """Whether a guest was changed and not seen to be put back."""
        return any(guest.left_changed for guest in self._guests)

    def give_up(self, reason: str) -> None:
        """Touch no guest: the claim is a crash-consistent backup's."""
        self._given_up = reason

    def open(self) -> None:
        """Make every guest consistent, as far as each permits.

        Never fails: what a guest did not permit is in the claim.
        """
        if self._given_up:
            return
        self._opened = time.monotonic()
        # In a fixed order, so that two windows cannot wait for each other.
        for guest in sorted(self._guests, key=lambda g: g.target.instance):
            guest.open()
        steps.reached(steps.Step.ENGAGED, self.token)

    def wait(self, finished: Callable[[], bool]) -> None:
        """Wait until the point in time is known to have passed.

        By :attr:`passed`, set by another thread, or by ``finished``; not
        longer than window_timeout.

        :param finished: asked every 100 ms; may raise BackupGone
        """
        if not self.engaged:
            return
        deadline = time.monotonic() + self._settings.window_timeout
        while time.monotonic() < deadline:
            try:
                if self.passed.wait(POLL) or finished():
                    self.cover()
                    return
            except exceptions.BackupGone as error:
                self._not_covered = str(error)
                return
            except Exception as error:
                # The database may be back before the deadline.
                LOG.error('It cannot be seen whether the snapshot is '
                          'finished; looking again.',
                          exc_info=plain.error(error))
        self.late = True
        self._not_covered = (
            f'the snapshot was not finished after window_timeout = '
            f'{self._settings.window_timeout} s; if the back end copies the '
            f'volume, set backup_use_temp_snapshot = true for it')

    def cover(self) -> None:
        """Note that the point in time has passed while the window is open."""
        self._not_covered = ''
        steps.reached(steps.Step.PASSED, self.token)

    def close(self) -> claims.Claim:
        """Put every guest back and say what was proven. Never fails."""
        if self._given_up:
            return claims.Claim(CRASH, self._given_up)
        # Those that are shut off as well: they hold a lock.
        closed = [(guest, guest.close()) for guest in self._guests]
        steps.reached(steps.Step.RELEASED, self.token)
        parts = [claim for guest, claim in closed if not guest.shut_off]
        if not parts:
            return claims.Claim(CRASH, 'no guest runs')
        claim = claims.worst(parts)
        if self._not_covered:
            claim = claim.lowered(claims.Level.FLUSHED, self._not_covered)
        if self.engaged:
            claim = dataclasses.replace(claim, window_ms=round(
                1000 * (time.monotonic() - self._opened)))
        return claim


def recover(targets: Sequence[reach.Target], token: str, frozen: bool,
            settings: conf.Settings, lock: guest_window.Lock) -> bool:
    """Put back what a process that is gone left open, in every guest.

    :param token: of that process's window
    :param frozen: whether it may have frozen a guest
    :returns: whether all of them were seen to be put back
    :raises GuardianStuck: a guest is still changed, as it said itself
    :raises WriteThroughError: a guest could not be reached or put back; its
        lease has to see to it
    """
    problems = []
    kind = exceptions.WriteThroughError
    seen = True
    for target in targets:
        try:
            seen &= guest_window.recover(target, token, frozen, settings,
                                         lock)
        except exceptions.DomainNotRunning as error:
            # Paused or suspended it forgot nothing.
            if not error.memory_gone:
                problems.append(str(error))
        except exceptions.WriteThroughError as error:
            if isinstance(error, exceptions.GuardianStuck):
                kind = exceptions.GuardianStuck
            problems.append(str(error))
    if problems:
        raise kind('; '.join(problems))
    return seen
