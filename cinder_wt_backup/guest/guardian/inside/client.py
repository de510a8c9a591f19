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

"""The commands: what the agent runs, short-lived."""

import os
import time
import typing

from cinder_wt_backup.guest.guardian.inside import channel
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import listener
from cinder_wt_backup.guest.guardian.inside import protocol

Status = protocol.Status
Report = channel.Message
CLAIM_PATIENCE = 1.0            # seconds for one that ends to let go of it


def plain(status: Status, token: str, reason: str = '') -> Report:
    """Return a report without file systems."""
    return {'version': protocol.VERSION, 'status': int(status),
            'token': token, 'reason': reason}


def _claimed(folder: journal.Folder, seconds: float
             ) -> typing.Optional[int]:
    """Return the claim; None: somebody has it."""
    end = time.monotonic() + seconds
    while True:
        claim = folder.claim()
        if claim is not None or time.monotonic() >= end:
            return claim
        time.sleep(0.02)


def call(request: channel.Message) -> Report:
    """Make a short call; without a supervisor, undo what is on record."""
    token, limit = request['token'], request['limit']
    end = time.monotonic() + limit
    folder = journal.Folder()
    patience = time.monotonic() + max(0.5, min(limit - 3, 5))
    claim = None
    while claim is None and time.monotonic() < patience:
        try:
            report = listener.call(folder, request,
                                   max(0.5, end - 1 - time.monotonic()))
        except TimeoutError:
            return plain(Status.STUCK, token, 'the supervisor is at it')
        if report is not None:
            return report
        _disarmed(folder)
        claim = _claimed(folder, 0.1)   # there may be one in a moment
    return _recovered(folder, claim, token, end)


def _disarmed(folder: journal.Folder) -> None:
    """Tell workers that are alone that the host has thawed, if it froze."""
    try:
        folder.disarm()
    except OSError:
        pass                    # they wait until it is overdue


def _is_starting(token: str, proc: str = '/proc') -> bool:
    """Whether that window's start was called, and has nothing on record yet.

    A host that died and its successor may call at nearly the same time. Of
    all that has such arguments, only root's counts; what a window left behind
    has let go of its agent's pipe.
    """
    for process in os.listdir(proc):
        path = '%s/%s' % (proc, process)
        try:
            if not process.isdigit() or os.stat(path).st_uid != 0:
                continue
            with open(path + '/cmdline', 'rb') as line:
                arguments = line.read(protocol.MAX_REQUEST * 2).split(b'\0')
            if (b'start' in arguments and any(
                    token.encode('ascii') in each for each in arguments)
                    and os.readlink(path + '/fd/1') != '/dev/null'):
                return True
        except OSError:
            continue            # it has ended
    return False


def _recovered(folder: journal.Folder, claim: typing.Optional[int],
               token: str, end: float) -> Report:
    """Undo what a journal says; its lease is over with its supervisor.

    Without the claim, a worker is still at it: undoing beside it is right,
    but it stays on record.
    """
    left = folder.read()
    if left is None and claim is not None:
        folder.remove(claim)
        if _is_starting(token):
            return plain(Status.STUCK, token, 'it is only being started')
        return plain(Status.LAPSED, token)
    undone = left is None or undo_left_over(
        left, os.dup(folder.descriptor) if claim is None else claim,
        max(0.5, end - time.monotonic() - 1))
    if not undone or claim is None:
        return plain(Status.STUCK, token, 'not everything could be undone')
    folder.remove(claim)
    return plain(Status.LAPSED, token)


def undo_left_over(left: journal.Journal, claim: int, seconds: float
                   ) -> bool:
    """Undo what was left over; whether all of it was seen undone.

    Workers that cannot yet go on by themselves, and keep the claim.
    """
    from cinder_wt_backup.guest.guardian.inside import drain
    from cinder_wt_backup.guest.guardian.inside import team
    members = [team.left_over(record, claim) for record in left.records]
    for each in members:
        each.tell('undo')
    restored = drain.restore(left.thresholds)
    end = time.monotonic() + seconds
    while (any(each.busy and not each.gone for each in members)
           and time.monotonic() < end):
        for each in members:
            each.hear()
        time.sleep(0.005)
    undone = all(each.safe() for each in members)
    if undone:
        for each in members:
            each.dismiss()
    return undone and restored


def start(request: channel.Message) -> Report:
    """Leave a supervisor behind, and return its report."""
    from cinder_wt_backup.guest.guardian.inside import blocks
    token = request['token']
    disk = blocks.find_disk(request['volume'], request['address'])
    if not disk:
        return plain(Status.NO_DISK, token, 'no disk has that serial')
    why = _lacking()
    if why:
        return plain(Status.UNABLE, token, why)
    if not _apart_from_agent():
        return plain(Status.NO_LEASE, token, 'not in a unit of its own')
    folder = journal.Folder()
    claim = _claimed(folder, CLAIM_PATIENCE)
    if claim is None:
        return plain(Status.BUSY, token, 'another window is open')
    left = folder.read()
    if left is not None and not undo_left_over(left, claim, 4):
        return plain(Status.BUSY, token, 'another window is not undone')
    folder.forget()
    return _started(request, folder, claim, disk)


def _lacking() -> str:
    """Return what this guest lacks; empty: nothing."""
    from cinder_wt_backup.guest.guardian.inside import syscalls
    if os.getuid():
        return 'not root'
    if os.uname().machine not in syscalls.MACHINES:
        return 'an unknown architecture'
    return ''


def _apart_from_agent(run: str = '/run', proc: str = '/proc') -> bool:
    """Whether stopping the agent's service does not end us."""
    if not os.path.isdir(run + '/systemd/system'):
        return True
    with open(proc + '/self/cgroup', 'rb') as groups:
        return any(line.rstrip().endswith(b'.scope')
                   for line in groups.read(1 << 16).splitlines())


def _started(request: channel.Message, folder: journal.Folder, claim: int,
             disk: str) -> Report:
    from cinder_wt_backup.guest.guardian.inside import behind
    here, there = channel.pair()
    try:
        child = os.fork()
    except OSError:
        folder.remove(claim)
        raise
    if child == 0:
        behind.run(request, folder, claim, disk, there)
    there.close()
    os.close(claim)
    try:
        report = here.receive(request['limit'])
    except TimeoutError:
        return plain(Status.UNKNOWN, request['token'], 'no report in time')
    if report is None:
        return plain(Status.UNKNOWN, request['token'], 'it ended early')
    return report
