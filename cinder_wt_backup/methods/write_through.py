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

from collections.abc import Iterator
from typing import Any

from oslo_log import log as logging

from cinder_wt_backup import agent
from cinder_wt_backup import evidence
from cinder_wt_backup import exceptions
from cinder_wt_backup import guardian
from cinder_wt_backup import guest as guests
from cinder_wt_backup.methods import base
from cinder_wt_backup.methods import freeze

LOG = logging.getLogger(__name__)

FLUSHED = evidence.Level.FLUSHED
FREEZE = 'freeze'                   # as an operator says it
# Seen through another mount namespace, out of the agent's reach.
ELSEWHERE = '/proc/'
FROZEN = ('a file system is frozen by somebody else: thaw it, or wait for who '
          'did it')


class WriteThrough(base.Method):
    """The sync flag on every filesystem of the volume, by the guardian.

    With ``barrier = freeze`` a bounded freeze on top of it; without, if
    freezing is one of the methods, where the flag cannot be set.
    """

    def __init__(self, guest: guests.Guest, token: str, options: Any) -> None:
        super().__init__(guest, token, options)
        self._start: guardian.Report | None = None
        self._barrier: freeze.Frozen | None = None
        self._barrier_held = False

    def check(self) -> None:
        """See that programs can be run in the guest."""
        self.guest.require(agent.EXEC, agent.EXEC_STATUS)

    def engage(self) -> None:
        """Start the guardian; freeze if that is configured, or needed."""
        always = self.options.barrier == FREEZE
        possible = always or FREEZE in self.options.methods
        self._start = self._guardian().start(
            self.guest.volume, self.guest.disk.address, self.options.lease,
            self.options.drain_timeout,
            self._freeze_ends() if possible else 0, always)
        LOG.debug('Instance %(instance)s is write-through: %(report)s',
                  {'instance': self.guest.instance, 'report': self._start})
        if always or possible and self._start.unflagged:
            self._raise_barrier(self._start)

    def release(self) -> evidence.Evidence:
        """Thaw, put back and judge."""
        try:
            if self._barrier is not None:
                self._barrier_held |= self._barrier.thaw()
        finally:
            # Whatever the agent says to a thaw.
            end = self._guardian().release()
        self.left_over = _stuck(end)
        if self._start is None:
            return evidence.Evidence(
                evidence.Level.CRASH, f'instance {self.guest.instance} was '
                f'not seen to be write-through')
        return self._judged(self._start, end)

    def abandon(self) -> None:
        """Release by token; a lease that has ended is as good."""
        try:
            stuck = _stuck(self._guardian().release())
        except exceptions.GuardianLapsed:
            return
        if stuck:
            raise exceptions.GuardianError(
                f'instance {self.guest.instance}: {stuck}')

    def _guardian(self) -> guardian.Guardian:
        return guardian.Guardian(self.guest.agent, self.token,
                                 self.options.agent_timeout)

    def _freeze_ends(self) -> int:
        """Return when a barrier is over for sure: asking, freezing, itself."""
        return int(2 * self.options.agent_timeout
                   + self.options.freeze_timeout)

    def _raise_barrier(self, report: guardian.Report) -> None:
        """Freeze; without it the write-through beneath still holds."""
        points = [fs.mountpoint for fs in report.filesystems]
        self._barrier = freeze.Frozen(self.guest, self.options.freeze_timeout)
        if 'frozen' in report.words:
            # Whose freeze a thaw would end as well.
            self._barrier.problem = f'no barrier: {FROZEN}'
            return
        if not points or any(p.startswith(ELSEWHERE) for p in points):
            self._barrier.problem = (
                'no barrier: the agent does not reach every file system of '
                'the volume')
            return
        try:
            self._barrier.freeze(points)
        except exceptions.WriteThroughError as error:
            self._barrier.problem = f'no barrier: {error}'

    def _judged(self, start: guardian.Report,
                end: guardian.Report) -> evidence.Evidence:
        kinds = [fs.kind for fs in end.filesystems]
        proof = evidence.Evidence(
            level=evidence.Level.FILESYSTEM, method='write_through',
            filesystems={kind: kinds.count(kind) for kind in kinds})
        for level, reason in self._objections(start, end):
            if level < proof.level:
                proof = proof.lowered(level, reason)
        if self._barrier is not None and self._barrier.milliseconds:
            proof = proof.with_freeze(self._barrier.milliseconds)
        if not proof.reason and 'spans' in start.words | end.words:
            proof = proof.with_reason('a file system lies on other volumes '
                                      'too, which are not in this backup')
        return proof

    def _objections(self, start: guardian.Report, end: guardian.Report
                    ) -> Iterator[tuple[evidence.Level, str]]:
        """Yield what each thing seen permits at the most, and why."""
        words = start.words | end.words
        filesystems = start.filesystems + end.filesystems
        if 'raw' in words:
            yield FLUSHED, ('a device of the volume is used without a file '
                            'system; it was flushed, later writes may be '
                            'missing')
        if not filesystems and {'held', 'swap'} & words:
            yield FLUSHED, ('the volume is used by device-mapper, md or swap '
                            'without a mounted file system')
        for fs in filesystems:
            if fs.state == 'nobarrier':
                yield FLUSHED, (f'{fs.kind} is mounted with nobarrier: mount '
                                f'it without for more')
        for fs in start.filesystems:
            if fs.state == 'rw' and not self._barrier_held:
                why = FROZEN if 'frozen' in start.words else (
                    'the guest lacks perl or python3, or Linux 5.2, or its '
                    'SELinux confines the agent')
                yield FLUSHED, (f'{fs.kind} could not be made synchronous: '
                                f'{why}')
        if 'same' not in end.words:
            yield FLUSHED, ('file systems of the volume were mounted or '
                            'unmounted in the guest meanwhile, or it was '
                            'detached')
        for fs in end.filesystems:
            if fs.state == 'rw' and not self._barrier_held:
                yield FLUSHED, (f'{fs.kind} was remounted in the guest '
                                f'meanwhile, without sync')
        if filesystems and not self._barrier_held:
            yield evidence.Level.WRITE_THROUGH, (
                self._barrier.problem if self._barrier is not None else '')


def _stuck(report: guardian.Report) -> str:
    """Return what a release could not put back; empty: nothing."""
    if not report.stuck:
        return ''
    why = (FROZEN if 'frozen' in report.words
           else 'in the guest: mount -o remount,async their mount points')
    return f'still synchronous are {", ".join(report.stuck[:8])}: {why}'
