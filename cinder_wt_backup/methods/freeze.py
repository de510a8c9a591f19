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

from collections.abc import Sequence
import contextlib
import threading
import time
from typing import Any

from oslo_log import log as logging

from cinder_wt_backup import agent
from cinder_wt_backup import evidence
from cinder_wt_backup import exceptions
from cinder_wt_backup import guest as guests
from cinder_wt_backup.methods import base

LOG = logging.getLogger(__name__)


class Frozen:
    """A bounded freeze of some filesystems of a guest.

    Ends by ``thaw`` or after ``timeout``, whichever is first. The agent's
    thaw is for the whole guest, so what somebody else froze is left alone:
    it refuses to begin beside another freeze.

    :param timeout: seconds
    """

    def __init__(self, guest: guests.Guest, timeout: int) -> None:
        self._guest = guest
        self._timeout = timeout
        self._lock = threading.Lock()
        self._count = 0
        self._began = 0.0
        self._timer: threading.Timer | None = None
        self._thaw_is_due = False
        self.milliseconds = 0
        self.problem = ''

    def freeze(self, mountpoints: Sequence[str]) -> None:
        """Freeze them, all or none.

        :raises GuestFrozen: somebody else's freeze is in the way
        :raises AgentError: they are not frozen
        """
        self._check_not_frozen()
        self._guest.before_freeze()
        self._began = time.monotonic()
        self._thaw_is_due = True
        try:
            self._freeze_all(mountpoints)
        except exceptions.AgentRefused:
            # What it had begun it has undone. Another host may be first.
            self._thaw_is_due = False
            self._check_not_frozen()
            raise
        except exceptions.WriteThroughError as error:
            with contextlib.suppress(exceptions.WriteThroughError):
                if self._may_be_frozen(error):
                    self._thawed()
                self._thaw_is_due = False
            raise
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

    def _check_not_frozen(self) -> None:
        if self._guest.agent.frozen():
            raise exceptions.GuestFrozen(self._guest.instance)

    def thaw(self) -> bool:
        """End it; harmless when it has ended.

        :returns: whether the freeze held until now: exactly what was frozen
            was thawed, and not before
        :raises AgentError: the agent did not thaw; may be tried again
        """
        return self._end('')

    def _expire(self) -> None:
        try:
            self._end(f'the snapshot took longer than freeze_timeout = '
                      f'{self._timeout} s, so the freeze was ended before it')
        except exceptions.WriteThroughError as error:
            LOG.error('Instance %(instance)s may still be frozen, its agent '
                      'did not thaw: %(error)s. Run virsh domfsthaw on its '
                      'host.', {'instance': self._guest.instance,
                                'error': error})

    def _end(self, problem: str) -> bool:
        with self._lock:
            if not self._thaw_is_due:
                return False
            if self._timer is not None:
                self._timer.cancel()
            thawed, failed = self._thawed()
            self._thaw_is_due = False
            if self._timer is None:
                return False
            self.milliseconds = round(1000 * (time.monotonic() - self._began))
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
                or self._guest.agent.frozen())

    def _thawed(self) -> tuple[int, str]:
        """Thaw; return how many were, and what went wrong all the same.

        A hook of the guest's may fail after all is thawed.

        :raises AgentError: something may still be frozen
        """
        try:
            return self._guest.agent.thaw(), ''
        except exceptions.Unreachable:
            raise
        except exceptions.AgentError as error:
            if self._guest.agent.frozen():
                raise
            return 0, str(error)


class Freeze(base.Method):
    """One fsfreeze of this volume's mount points, and no lease in the guest.

    For guests that block guest-exec, or have no shell (Windows): what stands
    in for the lease is a timer here, and the record of the open window, which
    a restarted cinder-backup or another host works off.
    """

    remedy = 'it may still be frozen: run virsh domfsthaw on its host'

    def __init__(self, guest: guests.Guest, token: str, options: Any) -> None:
        super().__init__(guest, token, options)
        self._frozen = Frozen(guest, options.freeze_timeout)
        self._mounts: list[agent.Mount] = []

    def check(self) -> None:
        """See that the guest permits it, and the operator."""
        self.guest.require(agent.FSINFO, agent.FREEZE, agent.THAW,
                           agent.FREEZE_STATUS)
        if not self.options.freeze_without_lease:
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
        self._frozen.freeze([mount.mountpoint for mount in self._mounts])

    def release(self) -> evidence.Evidence:
        """Thaw; frozen all along is as good as unmounted."""
        held = self._frozen.thaw()
        problem = self._frozen.problem
        if held and set(self.guest.mounts()) != set(self._mounts):
            held, problem = False, (
                'file systems of the volume were mounted or unmounted in the '
                'guest meanwhile')
        kinds = [mount.kind for mount in self._mounts]
        return evidence.Evidence(
            level=(evidence.Level.FILESYSTEM if held
                   else evidence.Level.FLUSHED),
            reason=problem,
            method='freeze',
            filesystems={kind: kinds.count(kind) for kind in kinds},
            freeze_ms=self._frozen.milliseconds)

    def abandon(self) -> None:
        """Nothing but the freeze was changed, and it has ended."""
