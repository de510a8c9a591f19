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
from collections.abc import Sequence
import time

from oslo_log import log as logging
import tenacity

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest import filesystems
from cinder_wt_backup.guest.guardian import thaw
from cinder_wt_backup.guest import reach
from cinder_wt_backup.window.methods import base
from cinder_wt_backup.window.methods import bounded_freeze

LOG = logging.getLogger(__name__)

# How often a frozen guest is told again to forget its lease, seconds.
REMOVE_AGAIN = 1


def sort_by_freeze(instance: str, mounts: Sequence[filesystems.Some]
                   ) -> filesystems.Sorted[filesystems.Some]:
    """Return file systems of which some can be frozen, sorted.

    :raises AgentError: none can
    """
    found = filesystems.by_freeze(mounts)
    if not found.freezable:
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
        self._freeze = bounded_freeze.BoundedFreeze(
            guest, settings.freeze_timeout, self._remove_lease)
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
        frozen = sort_by_freeze(self.guest.instance, self._mounts).freezable
        self._leave_lease([mount.name for mount in frozen])
        self._insist_on_lease()
        try:
            self._freeze.check_not_frozen()
            self._freeze.freeze([mount.mountpoint for mount in frozen])
        except exceptions.GuestFrozen:
            # Somebody was first: his freeze is not the lease's to end.
            self._remove_lease()
            raise

    def _leave_lease(self, devices: list[str]) -> None:
        """Have the guest end the freeze by itself, where that is possible."""
        if self.guest.runs_programs():
            self._leased = self._lease().leave(
                devices, self._lease_seconds)

    @property
    def _lease_seconds(self) -> int:
        return 2 * self.settings.agent_timeout + self.settings.freeze_timeout

    def _lease(self) -> thaw.Thaw:
        return thaw.Thaw(self.guest.agent, self.token,
                         self.settings.agent_timeout)

    def _remove_lease(self) -> None:
        """Have no freeze ended any more: it would be somebody else's.

        While somebody's freeze is in the way the guest runs no program, and
        is told again: until its lease has ended, there is nothing to remove.
        """
        if not self._leased:
            return
        try:
            tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(exceptions.GuestFrozen),
                wait=tenacity.wait_fixed(REMOVE_AGAIN), reraise=True,
                stop=tenacity.stop_after_delay(self._lease_seconds),
                sleep=time.sleep)(self._lease().remove)
            self._leased = False
        except exceptions.WriteThroughError as error:
            LOG.warning(
                'Instance %(instance)s was not told that the freeze is over: '
                'for some seconds it may thaw what somebody else freezes '
                'there: %(error)s',
                {'instance': self.guest.instance, 'error': error})

    def release(self) -> claims.Claim:
        """Thaw; frozen all along is as good as unmounted."""
        held = self._freeze.thaw()
        self._remove_lease()
        problem = self._freeze.problem
        before = filesystems.by_freeze(self._mounts)
        if held:
            end = filesystems.by_freeze(self.guest.mounts())
            # An automount has the EFI system partition come and go.
            if (set(end.freezable), set(end.unfreezable)) != (
                    set(before.freezable), set(before.unfreezable)):
                held, problem = False, (
                    'file systems of the volume were mounted or unmounted in '
                    'the guest meanwhile')
        claim = claims.Claim(
            level=(claims.Level.FILESYSTEM if held
                   else claims.Level.FLUSHED),
            reason=problem or filesystems.remark(before.efi),
            method='freeze', beneath=claims.Level.FLUSHED,
            filesystems=collections.Counter(
                mount.kind for mount in before.freezable),
            freeze_ms=self._freeze.milliseconds)
        for mount in before.unfreezable:
            claim = claim.lowered(claims.Level.CRASH, (
                f'{mount.kind} can neither be frozen nor, where guest-exec is '
                f'blocked, flushed'))
        return claim

    def recover(self) -> None:
        """Nothing but the freeze was changed, and it has ended."""
        self._leased = self.guest.runs_programs()
        self._remove_lease()
