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
report_of = protocol.report_of
Report = channel.Message
LOCK_PATIENCE = 1.0             # seconds for one that ends to let go of it


def _take_lock(folder: journal.Folder, seconds: float
               ) -> typing.Optional[int]:
    """Wait a little for the lock and return it; None: it is held."""
    end = time.monotonic() + seconds
    while True:
        lock = folder.try_lock()
        if lock is not None or time.monotonic() >= end:
            return lock
        time.sleep(0.02)


def call(request: channel.Message) -> Report:
    """Make a short call; without a supervisor, undo what is on record."""
    token, limit = request['token'], request['limit']
    end = time.monotonic() + limit
    folder = journal.Folder()
    patience = time.monotonic() + max(0.5, min(limit - 3, 5))
    lock = None
    while lock is None and time.monotonic() < patience:
        try:
            report = listener.call(folder, request,
                                   max(0.5, end - 1 - time.monotonic()))
        except TimeoutError:
            return report_of(Status.STUCK, token, 'the supervisor is at it')
        if report is not None:
            return report
        _disarm(folder)
        lock = _take_lock(folder, 0.1)   # there may be one in a moment
    return _recover(folder, lock, token, end)


def _disarm(folder: journal.Folder) -> None:
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


def _recover(folder: journal.Folder, lock: typing.Optional[int],
             token: str, end: float) -> Report:
    """Undo what a journal says; its lease is over with its supervisor.

    Without the lock, a worker is still at it: undoing beside it is right,
    but it stays on record.
    """
    left = folder.read()
    if left is None and lock is not None:
        folder.remove(lock)
        if _is_starting(token):
            return report_of(Status.STUCK, token, 'it is only being started')
        return report_of(Status.LAPSED, token)
    undone = left is None or undo_left_over(
        left, os.dup(folder.descriptor) if lock is None else lock,
        max(0.5, end - time.monotonic() - 1))
    if not undone or lock is None:
        return report_of(Status.STUCK, token, 'not everything could be undone')
    folder.remove(lock)
    return report_of(Status.LAPSED, token)


def undo_left_over(left: journal.Journal, lock: int, seconds: float
                   ) -> bool:
    """Undo what was left over; whether all of it was seen undone.

    Workers that cannot yet go on by themselves, and keep the lock.
    """
    from cinder_wt_backup.guest.guardian.inside import drain
    from cinder_wt_backup.guest.guardian.inside import team
    members = [team.left_over(record, lock) for record in left.records]
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
        return report_of(Status.NO_DISK, token, 'no disk has that serial')
    why = _lacking()
    if why:
        return report_of(Status.UNABLE, token, why)
    if not _apart_from_agent():
        return report_of(Status.NO_LEASE, token, 'not in a unit of its own')
    folder = journal.Folder()
    lock = _take_lock(folder, LOCK_PATIENCE)
    if lock is None:
        return report_of(Status.BUSY, token, 'another window is open')
    left = folder.read()
    if left is not None and not undo_left_over(left, lock, 4):
        return report_of(Status.BUSY, token, 'another window is not undone')
    folder.forget()
    return _leave_supervisor(request, folder, lock, disk)


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


def _leave_supervisor(request: channel.Message, folder: journal.Folder,
                      lock: int, disk: str) -> Report:
    from cinder_wt_backup.guest.guardian.inside import behind
    here, there = channel.pair()
    try:
        child = os.fork()
    except OSError:
        folder.remove(lock)
        raise
    if child == 0:
        behind.run(request, folder, lock, disk, there)
    there.close()
    os.close(lock)
    try:
        report = here.receive(request['limit'])
    except TimeoutError:
        return report_of(Status.UNKNOWN, request['token'],
                         'no report in time')
    if report is None:
        return report_of(Status.UNKNOWN, request['token'], 'it ended early')
    return report
