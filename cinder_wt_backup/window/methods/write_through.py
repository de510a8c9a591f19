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

"""Make the volume's filesystems write-through: writers go on."""

from __future__ import annotations

import threading
from typing import ClassVar

from oslo_log import log as logging

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest.guardian import client as guardian
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian import report as reports
from cinder_wt_backup.guest import reach
from cinder_wt_backup import plain
from cinder_wt_backup.window.methods import base
from cinder_wt_backup.window.methods import bounded_freeze
from cinder_wt_backup.window.methods import freeze
from cinder_wt_backup.window.methods import judgement

LOG = logging.getLogger(__name__)

FREEZE = 'freeze'                   # as an operator says it
BarrierWish = guardian.BarrierWish
Pulse = protocol.Pulse
# How often a frozen guest is told again that we froze nothing, seconds.
DISARM_AGAIN = 1


class WriteThrough(base.Method):
    """The sync flag on every filesystem of the volume, by the guardian.

    With ``barrier = freeze`` a bounded freeze on top of it; without, if
    freezing is one of the methods, where the flag cannot be set.
    """

    runs_programs: ClassVar[bool] = True

    def __init__(self, guest: reach.Guest, token: str,
                 settings: conf.Settings) -> None:
        super().__init__(guest, token, settings)
        self._start: reports.Start | None = None
        self._freeze = bounded_freeze.BoundedFreeze(
            guest, settings.freeze_timeout, self._disarm)
        self._no_barrier = ''
        self._held = False
        self._released = False

    def check(self) -> None:
        """See that programs can be run in the guest."""
        self.guest.require(agent.EXEC, agent.EXEC_STATUS)

    def engage(self) -> None:
        """Start the guardian; freeze if that is configured, or needed."""
        wish = self._barrier_wish()
        start = self._start = self._guardian().start(guardian.StartRequest(
            self.guest.volume, self.guest.disk.address, self.settings.lease,
            self.settings.drain_timeout, self._freeze_ends(), wish))
        LOG.debug('Instance %(instance)s is write-through: %(report)s',
                  {'instance': self.guest.instance, 'report': start})
        try:
            self._see_nobody_froze(start)
        except exceptions.WriteThroughError:
            if start.armed:
                self._disarm()
            raise
        if wish == BarrierWish.ALWAYS or (
                wish == BarrierWish.UNFLAGGED and start.unflagged):
            self._raise_barrier(start)
        if start.armed and not (self._freeze.began or self._freeze.may_come):
            self._disarm()

    def release(self) -> claims.Claim:
        """Thaw, put back and judge."""
        try:
            self._held |= self._freeze.thaw()
        finally:
            # Whatever the agent says to a thaw.
            end = self._guardian().release()
            self._released = True
        self.left_over = judgement.left_over(end)
        if self._start is None:
            return claims.Claim(
                claims.Level.CRASH, f'instance {self.guest.instance} was '
                f'not seen to be write-through')
        return self._judge(self._start, end)

    def lapsed(self, reason: str) -> claims.Claim:
        """Return what the start alone has proven."""
        if self._start is None:
            return claims.Claim(claims.Level.CRASH, reason)
        return judgement.flushed(self._start, reason)

    def recover(self) -> None:
        """Release by token; a lease that has ended is as good."""
        try:
            stuck = judgement.left_over(self._guardian().release())
        except exceptions.GuardianLapsed:
            return
        if stuck:
            raise exceptions.GuardianStuck(
                f'instance {self.guest.instance}: {stuck}')

    def _guardian(self) -> guardian.Guardian:
        return guardian.Guardian(self.guest.agent, self.token,
                                 self.settings.agent_timeout)

    def _barrier_wish(self) -> BarrierWish:
        if self.settings.barrier is conf.Barrier.FREEZE:
            return BarrierWish.ALWAYS
        return (BarrierWish.UNFLAGGED if FREEZE in self.settings.methods
                else BarrierWish.NEVER)

    def _freeze_ends(self) -> int:
        """Return when a barrier is over for sure: asking, freezing, itself."""
        return (2 * self.settings.agent_timeout
                + self.settings.freeze_timeout)

    def _see_nobody_froze(self, start: reports.Start) -> None:
        """See that draining the writers ended nobody's freeze.

        That is a freeze and a thaw, which the agent knows nothing of: if Nova
        froze the guest by it meanwhile, it believes in a freeze that is none.

        :raises GuardianError: it may have been so
        """
        if any(fs.pulse not in (Pulse.NONE, Pulse.BUSY)
               for fs in start.filesystems) and (
                self.guest.agent.says_frozen()):
            raise exceptions.GuardianError(
                f'instance {self.guest.instance} was frozen by somebody else '
                f'while its writers were drained: what is made under that '
                f'freeze, such as a snapshot of Nova\'s, may not be '
                f'consistent and should be made again')

    def _raise_barrier(self, start: reports.Start) -> None:
        """Freeze; without it the write-through beneath still holds."""
        try:
            self._freeze.freeze(self._points(start))
        except exceptions.WriteThroughError as error:
            self._no_barrier = f'no barrier: {error}'

    def _points(self, start: reports.Start) -> list[str]:
        """Return where the agent is to freeze.

        :raises AgentError: it would not be exactly what is on the volume
        """
        if start.frozen:
            # Whose freeze a thaw would end as well.
            raise exceptions.AgentError(judgement.FROZEN)
        if not start.armed:
            raise exceptions.AgentError(
                'the guest would not end a freeze by itself')
        found = freeze.sort_by_freeze(self.guest.instance,
                                      start.filesystems).freezable
        if not all(fs.own and fs.mountpoint for fs in found):
            raise exceptions.AgentError('the agent does not reach every file '
                                        'system of the volume')
        return [fs.mountpoint for fs in found]

    def _disarm(self) -> None:
        """Tell the guest that nothing frozen is ours any more."""
        if self._released:
            return
        try:
            self._guardian().thawed()
        except exceptions.GuestFrozen:
            # Somebody else was first, and must not be thawed by the guest.
            again = threading.Timer(DISARM_AGAIN, self._disarm)
            again.daemon = True
            again.start()
        except exceptions.WriteThroughError as error:
            LOG.warning(
                'Instance %(instance)s was not told that the freeze is over: '
                'until its release it may thaw what somebody else freezes '
                'there: %(error)s',
                {'instance': self.guest.instance, 'error': error})

    def _judge(self, start: reports.Start,
               end: reports.End) -> claims.Claim:
        claim = judgement.judge(start, end, judgement.Barrier(
            held=self._held, drained=self._freeze.began,
            problem=self._no_barrier or self._freeze.problem))
        if self._freeze.milliseconds:
            claim = claim.with_freeze(self._freeze.milliseconds)
        told = judgement.options_left_reset(end)
        if told:
            LOG.error('Instance %(instance)s: %(told)s.',
                      {'instance': self.guest.instance,
                       'told': plain.text(told)})
        return claim.with_remark(told)
