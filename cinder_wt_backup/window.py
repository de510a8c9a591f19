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

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import threading
import time
from typing import Any
import uuid

from cinder import coordination
from oslo_log import log as logging
import tenacity
from tooz import coordination as tooz

from cinder_wt_backup import evidence
from cinder_wt_backup import exceptions
from cinder_wt_backup import guest as guests
from cinder_wt_backup import methods
from cinder_wt_backup.methods import base

LOG = logging.getLogger(__name__)

CRASH = evidence.Level.CRASH
LOCK = 'wt-backup-%s'
# How often it is looked whether the point in time has passed, seconds.
POLL = 0.1
# How often a guest that is busy with another window is asked again, seconds.
BUSY_POLL = 2


class Window:
    """The time in which all guests of one volume are consistent.

    Opened, waited for and closed by one thread.

    :ivar token: its name, in the guests and on record
    :ivar passed: to be set when the point in time has passed
    """

    def __init__(self, targets: Sequence[guests.Target], options: Any) -> None:
        self.token = uuid.uuid4().hex
        self._options = options
        self._guests = [_GuestWindow(target, self.token, options)
                        for target in targets]
        self._covered = 'the snapshot was not seen to be finished'
        self._opened = 0.0
        self._given_up = ''
        self.passed = threading.Event()

    @property
    def exempt(self) -> bool:
        """Whether every instance is shut off."""
        return all(guest.shut_off for guest in self._guests)

    @property
    def round_trips(self) -> int:
        """How many messages the guests' agents were sent."""
        return sum(guest.round_trips for guest in self._guests)

    def give_up(self, reason: str) -> None:
        """Touch no guest: the evidence is a crash-consistent backup's."""
        self._given_up = reason

    def open(self) -> None:
        """Make every guest consistent, as far as each permits.

        Never fails: what a guest did not permit is in the evidence.
        """
        if self._given_up:
            return
        self._opened = time.monotonic()
        # In a fixed order, so that two windows cannot wait for each other.
        for guest in sorted(self._guests, key=lambda g: g.target.instance):
            guest.open()

    def wait(self, finished: Callable[[], bool]) -> None:
        """Wait until the point in time is known to have passed.

        By :attr:`passed`, set by another thread, or by ``finished``; not
        longer than window_timeout.

        :param finished: asked every 100 ms; may raise BackupGone
        """
        if not any(guest.engaged for guest in self._guests):
            return
        deadline = time.monotonic() + self._options.window_timeout
        while time.monotonic() < deadline:
            try:
                if self.passed.wait(POLL) or finished():
                    self.covered()
                    return
            except exceptions.BackupGone as error:
                self._covered = str(error)
                return
            except Exception:
                # The database may be back before the deadline.
                LOG.exception('It cannot be seen whether the snapshot is '
                              'finished; looking again.')
        self._covered = (
            f'the snapshot was not finished after window_timeout = '
            f'{self._options.window_timeout} s; if the back end copies the '
            f'volume, set backup_use_temp_snapshot = true for it')

    def covered(self) -> None:
        """Note that the point in time has passed while the window is open."""
        self._covered = ''

    def close(self) -> evidence.Evidence:
        """Put every guest back and say what was proven. Never fails."""
        if self._given_up:
            return evidence.Evidence(CRASH, self._given_up)
        parts = [guest.close() for guest in self._guests
                 if not guest.shut_off]
        if not parts:
            return evidence.Evidence(CRASH, 'no guest runs')
        proof = evidence.worst(parts)
        if self._covered:
            proof = proof.lowered(evidence.Level.FLUSHED, self._covered)
        if any(guest.engaged for guest in self._guests):
            proof = dataclasses.replace(proof, window_ms=round(
                1000 * (time.monotonic() - self._opened)))
        return proof


class _GuestWindow:
    """One guest's part of a window."""

    def __init__(self, target: guests.Target, token: str,
                 options: Any) -> None:
        self.target = target
        self.shut_off = False
        self.engaged = False
        self._token = token
        self._options = options
        self._problem = ''
        self._stack = contextlib.ExitStack()
        self._method: base.Method | None = None

    def open(self) -> None:
        try:
            self._stack.enter_context(
                _locked(self.target.instance, self._options.lock_timeout))
            guest = self._stack.enter_context(
                guests.reach(self.target, self._options.agent_timeout))
            self._method = choose(guest, self._token, self._options)
            _engage(self._method, self._options.lock_timeout)
            self.engaged = True
        except exceptions.DomainNotRunning as error:
            self.shut_off, self._problem = error.shut_off, str(error)
        except exceptions.WriteThroughError as error:
            self._problem = str(error)
        except Exception as error:
            # Of libraries and hostile answers: no backup fails by it.
            LOG.exception('Instance %s: unexpected error while opening a '
                          'window.', self.target.instance)
            self._problem = f'unexpected error: {error}'

    @property
    def round_trips(self) -> int:
        return self._method.guest.agent.round_trips if self._method else 0

    def close(self) -> evidence.Evidence:
        """Release whatever was reached, also when opening failed half-way."""
        with self._stack:
            proof = self._released()
        if self._problem and not self.engaged:
            return evidence.Evidence(CRASH, self._problem)
        return proof

    def _released(self) -> evidence.Evidence:
        if self._method is None:
            return evidence.Evidence(CRASH, self._problem)
        try:
            return self._method.release()
        except exceptions.GuardianLapsed as error:
            return evidence.Evidence(evidence.Level.FLUSHED, str(error))
        except Exception as error:
            if self.engaged:
                LOG.error(
                    'Instance %(instance)s could not be put back: %(error)s. '
                    'Its lease does so within %(lease)s s.',
                    {'instance': self.target.instance, 'error': error,
                     'lease': self._options.lease})
            return evidence.Evidence(
                CRASH, f'the release was not confirmed: {error}')


def choose(guest: guests.Guest, token: str, options: Any) -> base.Method:
    """Return the first method that the guest permits.

    :raises CommandBlocked: it permits none; says why for each
    """
    problems = []
    installed = methods.installed()
    for name in options.methods:
        method = installed[name](guest, token, options)
        try:
            method.check()
            return method
        except exceptions.CommandBlocked as error:
            problems.append(str(error))
    raise exceptions.CommandBlocked('; '.join(problems))


def abandon(targets: Sequence[guests.Target], token: str,
            options: Any) -> None:
    """Put back what a process that is gone left open.

    :param token: of that process's window
    :raises WriteThroughError: of a guest that could not be reached; its lease
        has to see to it
    """
    for target in targets:
        with _locked(target.instance, options.lock_timeout):
            with guests.reach(target, options.agent_timeout) as guest:
                choose(guest, token, options).abandon()


def _engage(method: base.Method, patience: int) -> None:
    tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(exceptions.GuardianBusy),
        wait=tenacity.wait_fixed(BUSY_POLL), reraise=True,
        stop=tenacity.stop_after_delay(patience), sleep=time.sleep,
    )(method.engage)


@contextlib.contextmanager
def _locked(instance: str, timeout: int) -> Iterator[None]:
    """Keep other windows away from an instance: a thaw is guest-wide.

    :raises TooManyWindows: another one took longer than ``timeout`` seconds
    """
    lock = coordination.COORDINATOR.get_lock(LOCK % instance)
    try:
        acquired = lock.acquire(blocking=timeout)
    except tooz.LockAcquireFailed:
        acquired = False
    if not acquired:
        raise exceptions.TooManyWindows(
            f'another window in instance {instance} took longer than '
            f'lock_timeout = {timeout} s')
    try:
        yield
    finally:
        lock.release()
