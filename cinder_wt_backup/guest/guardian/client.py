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

"""The guardian: the small program that changes a guest and puts it back.

What is in ``inside`` runs in the guest; this is its host side. It travels as
guest-exec's input, its request as one JSON text: no text of a guest or tenant
ever becomes part of a program.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import functools
import math

from oslo_serialization import jsonutils

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest.guardian.inside import assemble
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian import report as reports
from cinder_wt_backup import steps

# As they were when this process began, whatever is installed meanwhile.
BOOT = assemble.boot()
PROGRAM = assemble.program()
# Seconds that a release may need in the guest, however short agent_timeout.
SHORTEST = 8

BarrierWish = protocol.BarrierWish
PulseWish = protocol.PulseWish
Status = protocol.Status


@dataclasses.dataclass(frozen=True)
class StartRequest:
    """What a window is to be.

    :ivar volume: the volume's id
    :ivar address: the disk's PCI address, if it has one
    :ivar lease: seconds after which the guest undoes it by itself
    :ivar drain: seconds for the gentle drain
    :ivar freeze: seconds after its report in which a freeze is over: what is
        frozen then, the guest thaws by itself
    :ivar barrier: when that freeze comes
    """

    volume: str
    address: str | None
    lease: int
    drain: int
    freeze: int = 0
    barrier: BarrierWish = BarrierWish.NEVER

    def fields(self) -> dict[str, object]:
        """Return it as the guest is told it."""
        return {'volume': self.volume, 'address': self.address or '',
                'lease': self.lease, 'drain': self.drain,
                'freeze': self.freeze, 'barrier': self.barrier,
                'pulse': (PulseWish.NEVER
                          if self.barrier == BarrierWish.ALWAYS
                          else PulseWish.NEEDED)}


class Guardian:
    """One window's guardian in one guest.

    :param guest_agent: that guest's agent; must permit guest-exec
    :param token: the window's name, hexadecimal
    :param timeout: seconds that starting and ending may take besides a drain
    """

    def __init__(self, guest_agent: agent.Agent, token: str,
                 timeout: int) -> None:
        self._agent = guest_agent
        self._token = token
        self._least = timeout
        self._timeout = max(timeout, SHORTEST)

    def start(self, request: StartRequest) -> reports.Start:
        """Make the volume's filesystems write-through, under a lease.

        :raises GuardianBusy: another window is open in the guest
        :raises GuardianUnable: this guest lacks what it needs; it was not
            changed
        :raises GuardianError, AgentError: it is not write-through; release
            all the same when it is not known how far it came
        """
        try:
            status, output = self._start(request)
        except exceptions.ProgramNotStarted as error:
            raise exceptions.GuardianUnable(str(error)) from error
        if status == Status.DONE:
            return reports.started(self._report(status, output))
        if status in protocol.UNCHANGED:
            raise self._unchanged(Status(status), output)
        raise self._unknown(status)

    def _start(self, request: StartRequest) -> tuple[int, str]:
        """Run it; with less time than it may take, the drain is cut.

        :raises TooLate: there is too little for anything
        """
        if self._agent.until.left < self._least:
            raise exceptions.TooLate(
                f'there were only {self._agent.until.left:.0f} s left to make '
                f'instance {self._agent.instance} write-through')
        whole = self._limit(request.drain + self._timeout)
        drain = min(request.drain, max(0, whole - self._timeout))
        return self._run(
            'start', whole, dataclasses.replace(request, drain=drain).fields(),
            self._on(steps.Step.STARTING))

    def _limit(self, most: int) -> int:
        """Return the seconds that are left for what may take ``most``.

        :raises TooLate: there are none
        """
        return math.ceil(self._agent.until.limit(most))

    def release(self) -> reports.End:
        """Put everything back; harmless when there is nothing to put back.

        To be called again when something is stuck.

        :raises GuardianLapsed: the lease had ended: the guest has put itself
            back, and nothing can be claimed
        :raises GuardianStuck: it is changed still, or how it ended is not
            known
        :raises AgentError: it did not answer as it should
        """
        status, output = self._run(
            'release', self._limit(self._timeout), {},
            self._on(steps.Step.RELEASING))
        if status == Status.LAPSED:
            raise exceptions.GuardianLapsed(
                f'the window {self._where} had ended before its release, by '
                f'its lease, a reboot or a release that was not heard of: the '
                f'guest is as it was')
        if status not in (Status.DONE, Status.STUCK):
            raise exceptions.GuardianStuck(str(self._unknown(status)))
        try:
            report = self._report(status, output)
            if 'filesystems' in report:
                return reports.ended(report)
            why = reports.reason(report)
        except exceptions.GuardianError as error:
            raise exceptions.GuardianStuck(str(error)) from error
        raise exceptions.GuardianStuck(
            f'the window {self._where} is not undone yet: {why}')

    def thawed(self) -> None:
        """Tell the guest that no freeze is to be ended by itself any more.

        :raises GuardianError, AgentError: it was not heard
        """
        status, _ = self._run('thawed', self._limit(self._timeout), {})
        if status not in (Status.DONE, Status.LAPSED):
            raise self._unknown(status)

    @property
    def _where(self) -> str:
        return f'in instance {self._agent.instance}'

    def _run(self, command: str, timeout: int, fields: dict[str, object],
             on_start: Callable[[], None] = lambda: None
             ) -> tuple[int, str]:
        request = jsonutils.dumps({
            'version': protocol.VERSION, 'token': self._token,
            'limit': timeout, **fields})
        # The guest ends by its own limit, before we stop listening.
        ended = self._agent.run(
            ('/bin/sh', '-c', BOOT, 'guardian', command, request), PROGRAM,
            timeout + 1, on_start)
        return ended.status, ended.output

    def _on(self, step: steps.Step) -> Callable[[], None]:
        return functools.partial(steps.reached, step, self._token)

    def _report(self, status: int, output: str) -> dict[str, object]:
        """Return the report, if it is of this call.

        :raises GuardianError: it is not
        """
        report = reports.read(output)
        if (report.get('status'), report.get('token')) != (status,
                                                           self._token):
            raise exceptions.GuardianError(
                f'the report of the guardian {self._where} is of something '
                f'else')
        return report

    def _unchanged(self, status: Status,
                   output: str) -> exceptions.GuardianError:
        """Return the error for an end that leaves the guest unchanged."""
        if status == Status.BUSY:
            return exceptions.GuardianBusy(
                f'another window is open {self._where}')
        if status == Status.NO_PYTHON:
            return exceptions.GuardianUnable(
                f'there is no Python 3.6 with ctypes {self._where}: install '
                f'it (Debian: python3, RHEL: platform-python); it was '
                f'flushed, and not changed', flushed=True)
        if status == Status.NO_DISK:
            return exceptions.GuardianUnable(
                f'the volume\'s disk was not found {self._where}: its serial '
                f'is missing from /sys/block')
        return exceptions.GuardianUnable(
            f'nothing was changed {self._where}: '
            f'{self._said(status, output)}')

    def _said(self, status: Status, output: str) -> str:
        """Return why, in the guest's words as far as it has any."""
        if status == Status.NOT_STARTED:
            return ('systemd-run or Python failed there: see that its agent '
                    'runs as root and systemd answers')
        try:
            return reports.reason(reports.read(output))
        except exceptions.GuardianError as error:
            return str(error)

    def _unknown(self, status: int) -> exceptions.GuardianError:
        return exceptions.GuardianUnknown(
            f'the guardian ended with status {status} {self._where}, which '
            f'may have been changed by then; it may have run out of '
            f'processes or memory')
