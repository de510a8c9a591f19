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

"""Freeze the volume's filesystems: blocks writers, covers everything."""

from __future__ import annotations

import collections
from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import threading
import time

from oslo_log import log as logging

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest import filesystems
from cinder_wt_backup.guest.guardian import thaw
from cinder_wt_backup.guest import reach
from cinder_wt_backup.window.methods import base

LOG = logging.getLogger(__name__)


class Frozen:
    """A bounded freeze of some filesystems of a guest.

    Ends by ``thaw`` or after ``timeout``, whichever is first. The agent's
    thaw is for the whole guest, so what somebody else froze is left alone:
    it refuses to begin beside another freeze.

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
            raise
        self.began = True
        self._timer = threading.Timer(self._timeout, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _freeze_all(self, mountpoints: Sequence[str]) -> None:
        self._count = self._guest.agent.freeze(mountpoints)
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
                      'did not thaw: %(error)s. Run virsh domfsthaw on its '
                      'host.', {'instance': self._guest.instance,
                                'error': error})
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
            if self._timer is None:
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
                or self._guest.agent.is_frozen())

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
            if self._guest.agent.is_frozen():
                raise
            return 0, str(error)


def freezable(instance: str, mounts: Sequence[filesystems.Some]
              ) -> filesystems.Sorted[filesystems.Some]:
    """Return file systems of which some can be frozen, sorted.

    :raises AgentError: none can
    """
    found = filesystems.by_freeze(mounts)
    if not found.frozen:
        kinds = ', '.join(sorted({fs.kind for fs in mounts})) or 'none at all'
        raise exceptions.AgentError(
            f'no file system that instance {instance} has on the volume can '
            f'be frozen: {kinds}')
    return found


class Freeze(base.Method):
    """One fsfreeze of this volume's mount points.

    For guests that block guest-exec, lack Python, or are no Linux. Where there
    is a shell, a lease is left in the guest. Where there is none, what stands
    in for it is a timer here, and the record of the open window, which a
    restarted cinder-backup or another host works off.
    """

    remedy = 'it may still be frozen: run virsh domfsthaw on its host'

    def __init__(self, guest: reach.Guest, token: str,
                 settings: conf.Settings) -> None:
        super().__init__(guest, token, settings)
        self._frozen = Frozen(guest, settings.freeze_timeout,
                              self._remove_lease)
        self._leased = False
        self._mounts: list[agent.Mount] = []

    def check(self) -> None:
        """See that the guest permits it, and the operator."""
        self.guest.require(agent.FSINFO, agent.FREEZE, agent.THAW,
                           agent.FREEZE_STATUS)
        if not self.guest.runs_programs():
            self._insist_on_lease()

    def _insist_on_lease(self) -> None:
        if not (self._leased or self.settings.freeze_without_lease):
            raise exceptions.CommandBlocked(
                f'instance {self.guest.instance} could only be frozen '
                f'without a lease, which freeze_without_lease forbids')

    def engage(self) -> None:
        """Freeze."""
        self._mounts = self.guest.mounts()
        if not self._mounts:
            raise exceptions.AgentError(
                f'the agent of instance {self.guest.instance} sees no '
                f'file system on the volume: what uses it cannot be flushed')
        frozen = freezable(self.guest.instance, self._mounts).frozen
        self._leave_lease([mount.name for mount in frozen])
        self._insist_on_lease()
        self._frozen.check_not_frozen()
        self._frozen.freeze([mount.mountpoint for mount in frozen])

    def _leave_lease(self, devices: list[str]) -> None:
        """Have the guest end the freeze by itself, where that is possible."""
        if self.guest.runs_programs():
            self._leased = self._lease().leave(
                devices, 2 * self.settings.agent_timeout
                + self.settings.freeze_timeout)

    def _lease(self) -> thaw.Thaw:
        return thaw.Thaw(self.guest.agent, self.token,
                         self.settings.agent_timeout)

    def _remove_lease(self) -> None:
        """Have no freeze ended any more: it would be somebody else's."""
        if not self._leased:
            return
        try:
            self._lease().remove()
            self._leased = False
        except exceptions.WriteThroughError as error:
            LOG.warning(
                'Instance %(instance)s was not told that the freeze is over: '
                'for some seconds it may thaw what somebody else freezes '
                'there: %(error)s',
                {'instance': self.guest.instance, 'error': error})

    def release(self) -> claims.Claim:
        """Thaw; frozen all along is as good as unmounted."""
        held = self._frozen.thaw()
        self._remove_lease()
        problem = self._frozen.problem
        before = filesystems.by_freeze(self._mounts)
        if held:
            end = filesystems.by_freeze(self.guest.mounts())
            # An automount has the EFI system partition come and go.
            if (set(end.frozen), set(end.unfrozen)) != (
                    set(before.frozen), set(before.unfrozen)):
                held, problem = False, (
                    'file systems of the volume were mounted or unmounted in '
                    'the guest meanwhile')
        claim = claims.Claim(
            level=(claims.Level.FILESYSTEM if held
                   else claims.Level.FLUSHED),
            reason=problem or filesystems.remark(before.efi),
            method='freeze', beneath=claims.Level.FLUSHED,
            filesystems=collections.Counter(
                mount.kind for mount in before.frozen),
            freeze_ms=self._frozen.milliseconds)
        for mount in before.unfrozen:
            claim = claim.lowered(claims.Level.CRASH, (
                f'{mount.kind} can neither be frozen nor, where guest-exec is '
                f'blocked, flushed'))
        return claim

    def recover(self) -> None:
        """Nothing but the freeze was changed, and it has ended."""
        self._leased = self.guest.runs_programs()
        self._remove_lease()
