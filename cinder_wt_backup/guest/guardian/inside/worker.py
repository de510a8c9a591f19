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

"""A worker: a process that does what may hang, for one superblock.

It undoes by itself when the supervisor is gone, and holds its share of the
lock until that is done.
"""

import errno
import gc
import os
import signal
import time
import typing

from cinder_wt_backup.guest.guardian.inside import channel
from cinder_wt_backup.guest.guardian.inside import drain
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import pulse
from cinder_wt_backup.guest.guardian.inside import syscalls
from cinder_wt_backup.guest.guardian.inside import undo
from cinder_wt_backup.guest.guardian.inside import ways
from cinder_wt_backup.guest.guardian.inside import work

Act = typing.Callable[['Worker'], channel.Message]


class Worker:
    """What a worker knows of its superblock.

    :ivar ours: whether the flag is, or may be, ours to take away
    :ivar freeze_end: when a freeze of ours is overdue, on the boot's clock;
        0: none may come
    """

    def __init__(self, record: journal.Record, ours: bool) -> None:
        self.record = record
        self.ours = ours
        self.freeze_end = 0.0
        self._pulse: typing.Optional[pulse.Pulse] = None

    def prepare(self) -> channel.Message:
        """Find it, and what undoing will take."""
        self.record = work.prepare(self.record)
        return {'record': self.record}

    def engage(self) -> channel.Message:
        """Set the flag."""
        self.ours = True        # from before it is tried
        try:
            state, self.ours = work.engage(self.record)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            self.ours = False   # nothing was tried
            return {'error': 'EOPNOTSUPP', 'ours': False}
        return {'state': state, 'ours': self.ours,
                'changed': work.differences(self.record)}

    def flush(self) -> channel.Message:
        """Write everything of it."""
        work.flush(self.record)
        return {'flush': protocol.Flush.DONE}

    def drain_writers(self) -> channel.Message:
        """Freeze and thaw at once."""
        self._pulse = pulse.Pulse(self.record)
        result = self._pulse.finish()
        if result != protocol.Pulse.LATE:
            self._pulse = None
        return {'pulse': result}

    def see(self) -> channel.Message:
        """Look at it, changing nothing."""
        return self._seen('state')

    def _seen(self, name: str) -> channel.Message:
        """Return what it is as ``name``, and where the agent sees it."""
        state, process, point = work.view(self.record, self.ours)
        return {name: state, 'own': process == 'self', 'point': point}

    def thaw(self) -> channel.Message:
        """End a freeze that is overdue."""
        return {'thawed': work.thaw(self.record)}

    def arm(self) -> channel.Message:
        """Know of a freeze that may come, which every message tells."""
        return {}

    def thaw_overdue(self) -> None:
        """End a freeze of ours that is overdue, in the supervisor's place."""
        if not self.freeze_end:
            return
        try:
            if journal.Folder(make=False).is_disarmed():
                self.freeze_end = 0.0
            elif syscalls.boot_clock() >= self.freeze_end:
                work.thaw(self.record)
                self.freeze_end = 0.0
        except ways.LostError:
            self.freeze_end = 0.0
        except (OSError, journal.UnsafeError):
            pass                # tried again

    def undo(self) -> channel.Message:
        """Take the flag away, if it is ours; say what was there before."""
        seen: channel.Message = {'was': protocol.State.UNKNOWN}
        try:
            seen = self._seen('was')
        except OSError:
            pass                # it is undone all the same
        result = protocol.Undo.ABSENT
        self.beat()             # told to undo again and again, it never idles
        if self.record.pulse:
            self._end_pulse()
        if self.ours:
            result = undo.undo(self.record)
            self.ours = result not in protocol.SAFE
        seen['changed'] = (self._changed() if result == protocol.Undo.UNDONE
                           else [])
        if self._pulse is not None:
            result = protocol.Undo.FROZEN
        return dict(seen, undo=result)

    def _changed(self) -> typing.List[str]:
        """Return how options differ from those before: ours or an admin's."""
        try:
            return work.differences(self.record)
        except (OSError, ways.LostError):
            return []           # unmounted, but undone

    def _end_pulse(self) -> None:
        """End a freeze of ours whose maker was killed in it."""
        try:
            work.thaw(self.record)
        except (OSError, ways.LostError):
            pass                # then it is frozen still, and stuck

    def beat(self) -> None:
        """Repeat the thaw of a pulse that is late."""
        if self._pulse is not None and self._pulse.over():
            self._pulse = None

    def safe(self) -> bool:
        """Whether nothing of ours is left on the superblock."""
        return not (self.ours or self._pulse or self.freeze_end)


ACTS: typing.Dict[str, Act] = {
    'prepare': Worker.prepare, 'engage': Worker.engage,
    'flush': Worker.flush, 'pulse': Worker.drain_writers,
    'see': Worker.see, 'arm': Worker.arm, 'thaw': Worker.thaw,
    'undo': Worker.undo,
}


def spawn(record: journal.Record, ours: bool, kept: typing.List[int]
          ) -> typing.Tuple[channel.Channel, int]:
    """Fork a worker; return the channel to it and its process.

    :param kept: descriptors that it must not let go of: the lock
    """
    here, there = channel.pair()
    child = os.fork()
    if child:
        there.close()
        return here, child
    try:
        channel.detach(kept + [there.fileno()])
        if not hasattr(gc, 'freeze'):
            gc.disable()        # before Python 3.7 it writes to all there is
        syscalls.lock_shared_memory()
        _serve(Worker(record, ours), there)
    finally:
        os._exit(0)
    raise AssertionError


def _serve(worker: Worker, there: channel.Channel) -> None:
    """Answer the supervisor; undo when it is gone."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)   # the supervisor undoes
    there.send({'ready': True})
    while True:
        try:
            message = there.receive(0.2)
        except TimeoutError:
            worker.beat()
            continue
        if message is None:
            break
        worker.freeze_end = message['freeze_end']
        if message['do'] == 'end':
            return              # everything was seen to be undone
        there.send(_do(worker, message['do']))
    _restore_thresholds()
    pause = 0.01
    while not worker.safe():
        time.sleep(pause)
        _do(worker, 'undo')
        worker.beat()
        worker.thaw_overdue()
        pause = min(0.5 if worker.freeze_end else 10, pause * 2)


def _restore_thresholds() -> None:
    """Put back the guest's thresholds, in the supervisor's place."""
    try:
        left = journal.Folder(make=False).read()
        if left is not None:
            drain.restore(left.thresholds)
    except (OSError, journal.UnsafeError):
        pass                    # it stays in the journal


def _do(worker: Worker, what: str) -> channel.Message:
    """Do it, and answer with what came of it."""
    try:
        answer = ACTS[what](worker)
    except ways.LostError:
        answer = {'error': 'hidden'}
    except OSError as error:
        answer = {'error': errno.errorcode.get(error.errno or 0, 'EIO')}
    except Exception as error:  # it must live to undo
        answer = {'error': type(error).__name__}
    answer['did'] = what
    return answer
