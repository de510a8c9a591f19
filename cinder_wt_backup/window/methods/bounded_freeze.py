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

"""A freeze that ends: by a thaw, or after a time."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import threading
import time

from oslo_log import log as logging

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import reach

LOG = logging.getLogger(__name__)

# How often an agent that did not thaw in time is told again, seconds.
THAW_AGAIN = 1
# How many times longer than another answer a freeze by VSS may take.
VSS_PATIENCE = 3


class BoundedFreeze:
    """A bounded freeze of some filesystems of a guest.

    Ends by ``thaw`` or after ``timeout``, whichever is first; where the agent
    is silent then, it is told again until ``thaw`` is called, whose caller
    sees to what is frozen still. The agent's thaw is
    for the whole guest, so what somebody else froze is left alone: it refuses
    to begin beside another freeze.

    :param timeout: seconds
    :param expired: called after it was ended by ``timeout``
    :ivar began: whether it was seen to have begun, so that what was being
        written then is through
    """

    def __init__(self, guest: reach.Guest, timeout: int,
                 expired: Callable[[], None] = lambda: None) -> None:
        self._guest = guest
        self._timeout = timeout
        self._expired = expired
        self.began = False
        self._lock = threading.Lock()
        self._count = 0
        self._since = 0.0
        self._timer: threading.Timer | None = None
        self._thaw_is_due = False
        self._is_left_to_caller = False
        self.milliseconds = 0
        self.problem = ''

    def freeze(self, mountpoints: Sequence[str]) -> None:
        """Freeze them, all or none.

        To be called right after an answer that no frozen agent gives
        (``agent.NOT_FROZEN``), or :meth:`check_not_frozen`: who finds a
        freeze on record may end it, so it must not be somebody else's.

        :raises GuestFrozen: somebody else's freeze is in the way
        :raises AgentError: they are not frozen
        """
        self._guest.before_freeze()
        self._since = time.monotonic()
        self._thaw_is_due = True
        try:
            self._freeze_all(mountpoints)
        except exceptions.TooLate:
            # Nothing was asked.
            self._thaw_is_due = False
            raise
        except exceptions.AgentRefused:
            # What it had begun it has undone. Another host may be first.
            self._thaw_is_due = False
            self.check_not_frozen()
            raise
        except exceptions.WriteThroughError as error:
            with contextlib.suppress(exceptions.WriteThroughError):
                if self._may_be_frozen(error):
                    self._thaw_all()
                self._thaw_is_due = False
            if self._thaw_is_due:
                self._start_timer(THAW_AGAIN)
            raise
        self.began = True
        self._start_timer(self._timeout)

    def _start_timer(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _freeze_all(self, mountpoints: Sequence[str]) -> None:
        # In a guest without programs, such as Windows, VSS waits for all who
        # write. In others the guest ends a freeze by itself, and must not do
        # so before it has come.
        self._count = self._guest.agent.freeze(
            mountpoints, 1 if self._guest.runs_programs() else VSS_PATIENCE)
        if self._count != len(mountpoints):
            raise exceptions.AgentError(
                f'{self._count} of {len(mountpoints)} file systems could be '
                f'frozen in instance {self._guest.instance}; others may be '
                f'frozen by somebody else')

    def check_not_frozen(self) -> None:
        """See that nobody else has frozen the guest.

        :raises GuestFrozen: somebody has
        """
        if self._guest.agent.is_frozen():
            raise exceptions.GuestFrozen(self._guest.instance)

    def thaw(self) -> bool:
        """End it; harmless when it has ended.

        :returns: whether the freeze held until now: exactly what was frozen
            was thawed, and not before
        :raises AgentError: the agent did not thaw; may be tried again
        """
        self._is_left_to_caller = True
        return self._end('')

    @property
    def may_come(self) -> bool:
        """Whether a freeze that failed may still happen, or has not ended."""
        return self._thaw_is_due

    def _expire(self) -> None:
        try:
            self._end(f'the snapshot took longer than freeze_timeout = '
                      f'{self._timeout} s, so the freeze was ended before it')
        except exceptions.WriteThroughError as error:
            LOG.error('Instance %(instance)s may still be frozen, its agent '
                      'did not thaw: %(error)s. It is told again; if that '
                      'does not help, run virsh domfsthaw on its host.',
                      {'instance': self._guest.instance, 'error': error})
            with self._lock:
                if self._thaw_is_due and not self._is_left_to_caller:
                    self._start_timer(THAW_AGAIN)
            return
        self._expired()

    def _end(self, problem: str) -> bool:
        with self._lock:
            if not self._thaw_is_due:
                return False
            if self._timer is not None:
                self._timer.cancel()
            thawed, failed = self._thaw_all()
            self._thaw_is_due = False
            if not self.began:
                return False
            self.milliseconds = round(1000 * (time.monotonic() - self._since))
            if thawed != self._count:
                problem = failed or (
                    f'{thawed} of {self._count} frozen file systems were '
                    f'still frozen at the end')
            self.problem = problem
            return not problem

    def _may_be_frozen(self, error: exceptions.WriteThroughError) -> bool:
        """Whether a freeze that failed is to be thawed, now or at the end.

        One that timed out may still happen. Else the agent knows; a thaw for
        nothing would be of what fsfreeze(8) froze, which it does not know.
        """
        return (isinstance(error, exceptions.Unreachable)
                or self._guest.agent.is_frozen(undoing=True))

    def _thaw_all(self) -> tuple[int, str]:
        """Thaw; return how many were, and what went wrong all the same.

        A hook of the guest's may fail after all is thawed.

        :raises AgentError: something may still be frozen
        """
        try:
            return self._guest.agent.thaw(), ''
        except exceptions.Unreachable:
            raise
        except exceptions.AgentError as error:
            if self._guest.agent.is_frozen(undoing=True):
                raise
            return 0, str(error)
