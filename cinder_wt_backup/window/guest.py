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

"""One guest's part of a window: lock, look, engage, release."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
import time

from oslo_log import log as logging
import tenacity

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import deadline
from cinder_wt_backup.guest import reach
from cinder_wt_backup import plain
from cinder_wt_backup.window import methods
from cinder_wt_backup.window.methods import base

LOG = logging.getLogger(__name__)

CRASH = claims.Level.CRASH
# How often a guest with another window, or freeze, is asked again, seconds.
BUSY_POLL = 2
# How often one that does not answer is looked for again, seconds: there is a
# moment of a live migration in which it runs at neither host.
RELEASE_POLL = 1


# Keeps other windows away from an instance: a thaw is guest-wide. Is told the
# instance and how many seconds to wait; raises WindowInTheWay.
Lock = Callable[[str, int], contextlib.AbstractContextManager[None]]


class GuestWindow:
    """One guest's part of a window; neither step ever fails.

    :ivar shut_off: the instance is shut off: nothing to do
    :ivar engaged: the guest was made consistent
    """

    def __init__(self, target: reach.Target, token: str,
                 settings: conf.Settings, lock: Lock,
                 before_freeze: Callable[[], None]) -> None:
        self.target = target
        self.shut_off = False
        self.engaged = False
        self._token = token
        self._settings = settings
        self._lock = lock
        self._before_freeze = before_freeze
        self._problem = ''
        self._flushed = False
        self._put_back = False
        self._stack = contextlib.ExitStack()
        self._method: base.Method | None = None
        self._closing = deadline.NEVER

    @property
    def left_changed(self) -> bool:
        """Whether the guest was changed and not seen to be put back."""
        return self._method is not None and not self._put_back

    @property
    def round_trips(self) -> int:
        """How many messages its agent was sent."""
        return self._method.guest.agent.round_trips if self._method else 0

    def open(self) -> None:
        """Lock, look and engage; what goes wrong is in the claim."""
        try:
            self._stack.enter_context(
                self._lock(self.target.instance, self._settings.lock_timeout))
            self._engage(self._connect(deadline.Deadline(
                self._settings.opening_timeout,
                f'instance {self.target.instance} to be found and made '
                f'consistent')))
            self.engaged = True
        except exceptions.DomainNotRunning as error:
            self.shut_off, self._problem = error.shut_off, str(error)
        except exceptions.WriteThroughError as error:
            self._problem = str(error)
        except Exception as error:
            # Of libraries and hostile answers: no backup fails by it.
            LOG.error('Instance %s: unexpected error while opening a '
                      'window.', self.target.instance,
                      exc_info=plain.error(error))
            self._problem = f'unexpected error: {error}'
        finally:
            # What ends a freeze on time has a limit of its own.
            self._have_end(deadline.NEVER)

    def close(self) -> claims.Claim:
        """Release whatever was reached, also when opening failed half-way."""
        claim = claims.Claim(CRASH, 'the release was not seen to end')
        self._closing = deadline.Deadline(
            self._settings.closing_timeout,
            f'instance {self.target.instance} to be put back')
        self._have_end(self._closing)
        try:
            with self._stack:
                claim = self._release()
        except Exception as error:
            # Of locks, libvirt and threads: no backup fails by it.
            LOG.error('Instance %s: unexpected error while closing a '
                      'window.', self.target.instance,
                      exc_info=plain.error(error))
        if self._problem and not self.engaged:
            return claims.Claim(
                claims.Level.FLUSHED if self._flushed else CRASH,
                self._problem)
        return claim

    def _connect(self, end: deadline.Deadline) -> reach.Guest:
        return self._stack.enter_context(reach.connect(
            self.target, self._settings.agent_timeout, end))

    def _have_end(self, end: deadline.Deadline) -> None:
        """Have its agent answer until then."""
        if self._method is not None:
            self._method.guest.agent.until = end

    def _engage(self, guest: reach.Guest) -> None:
        """Make it consistent by the first method that it permits.

        If its disk keeps what it is told to keep: else nothing is gained by
        changing the guest.
        """
        if guest.unsafe:
            raise exceptions.DiskUnsafe(guest.unsafe)
        guest.before_freeze = self._before_freeze
        problems: list[str] = []
        for method in self._methods(guest):
            try:
                _patiently(
                    functools.partial(self._try, method),
                    guest.agent.until.left - self._settings.agent_timeout)
                return
            except (exceptions.CommandBlocked,
                    exceptions.GuardianUnable) as error:
                problems.append(str(error))
                self._method = None
                self._flushed |= getattr(error, 'flushed', False)
        raise exceptions.CommandBlocked('; '.join(problems))

    def _methods(self, guest: reach.Guest) -> Iterator[base.Method]:
        """Yield the methods that operator and owner permit.

        :raises CommandBlocked: there is none
        """
        permitted = [method for name in self._settings.methods
                     if not ((method := methods.installed()[name])
                             .runs_programs and self.target.no_exec)]
        if not permitted:
            raise exceptions.CommandBlocked(
                f'the owner of volume {self.target.volume} permits no '
                f'programs in the guest (wt:policy), and freeze is none of '
                f'the operator\'s methods')
        for method in permitted:
            yield method(guest, self._token, self._settings)

    def _try(self, method: base.Method) -> None:
        method.check()
        # From here on the guest may be changed: to be released.
        self._method = method
        try:
            method.engage()
        except exceptions.GuestFrozen:
            # It says that nothing was changed.
            self._method = None
            raise

    def _release(self) -> claims.Claim:
        if self._method is None:
            return claims.Claim(CRASH, self._problem)
        try:
            claim = self._release_patiently(self._method)
            if self._method.left_over:
                self._complain(self._method, self._method.left_over)
                return claim
        except exceptions.GuardianLapsed as error:
            claim = self._method.lapsed(str(error))
        except Exception as error:
            if not _has_forgotten(error):
                return self._not_put_back(self._method, error)
            # What was changed there is gone, what was flushed is not.
            claim = self._method.lapsed(
                f'instance {self.target.instance} was shut off while its '
                f'window was open')
        self._put_back = True
        return claim

    def _release_patiently(self, method: base.Method) -> claims.Claim:
        """Release; if the guest does not answer, where it is by now."""
        try:
            return method.release()
        except (exceptions.Unreachable, exceptions.AgentError) as error:
            LOG.info('Instance %(instance)s is looked for again: %(error)s',
                     {'instance': self.target.instance, 'error': error})
        claim: claims.Claim = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_be_released),
            wait=tenacity.wait_fixed(RELEASE_POLL), reraise=True,
            stop=tenacity.stop_after_delay(self._settings.agent_timeout),
            sleep=time.sleep,
        )(self._release_where_it_is, method)
        return claim

    def _release_where_it_is(self, method: base.Method) -> claims.Claim:
        method.guest.move(self._connect(self._closing))
        claim = method.release()
        # Where it came to by a migration its disk may be another.
        return (claim.lowered(CRASH, method.guest.unsafe)
                if method.guest.unsafe else claim)

    def _not_put_back(self, method: base.Method,
                      error: Exception) -> claims.Claim:
        if self.engaged:
            self._complain(method, error)
        return claims.Claim(
            CRASH, f'the release was not confirmed: {error}')

    def _complain(self, method: base.Method, why: object) -> None:
        LOG.error(
            'Instance %(instance)s could not be put back: %(why)s. It is '
            'tried again; %(remedy)s.',
            {'instance': self.target.instance, 'why': plain.text(why),
             'remedy': method.remedy})


def recover(target: reach.Target, token: str, frozen: bool,
            settings: conf.Settings, lock: Lock) -> bool:
    """Put one guest back that a process which is gone left changed.

    While frozen an agent permits nothing but a thaw, so that comes first.

    :param frozen: the record says that the window may have frozen it; else
        a freeze is somebody else's, and is left alone
    :returns: whether it was seen to be put back, by every method; else its
        owner or its agent does not permit what that takes
    :raises WriteThroughError: it could not be reached or put back
    """
    seen = True
    with (lock(target.instance, settings.lock_timeout),
          reach.connect(target, settings.agent_timeout, deadline.Deadline(
              settings.closing_timeout,
              f'instance {target.instance} to be put back')) as guest):
        if frozen and guest.agent.is_frozen():
            guest.agent.thaw()
        for method in methods.installed().values():
            if method.runs_programs and target.no_exec:
                seen = False        # its lease sees to it
                continue
            left = method(guest, token, settings)
            try:
                left.check()
                left.recover()
            except exceptions.CommandBlocked:
                seen = False
    return seen


def _patiently(engage: Callable[[], None], patience: float) -> None:
    """Engage; wait for another window in the guest, or another freeze.

    :param patience: seconds; after it, what is in the way is raised, as long
        as there is time for one more try
    """
    tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(
            (exceptions.GuardianBusy, exceptions.GuestFrozen)),
        wait=tenacity.wait_fixed(BUSY_POLL), reraise=True,
        stop=tenacity.stop_after_delay(patience - BUSY_POLL),
        sleep=time.sleep,
    )(engage)


def _has_forgotten(error: BaseException) -> bool:
    return (isinstance(error, exceptions.DomainNotRunning)
            and error.memory_gone)


def _may_be_released(error: BaseException) -> bool:
    """Whether a guest that could not be may be in a moment.

    One whose agent starts no program: another host may have frozen it, as
    Nova does for an image, or have done so just before.
    """
    return (isinstance(error, (exceptions.Unreachable,
                               exceptions.GuestFrozen,
                               exceptions.ProgramNotStarted))
            and not _has_forgotten(error))
