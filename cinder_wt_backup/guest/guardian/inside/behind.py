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

"""The supervisor's process: everything it will need is there beforehand."""

import ctypes
import gc
import os
import traceback

from cinder_wt_backup.guest.guardian.inside import channel
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import supervisor
from cinder_wt_backup.guest.guardian.inside import syscalls
from cinder_wt_backup.guest.guardian.inside import window


def _warm_up() -> None:
    """Compile every part, raise and format one exception.

    What that imports is there then, and needs no memory or disk later.
    """
    for part in globals().get('PARTS', {}).values():
        part.load()
    try:
        syscalls.fspick(-1)
    except OSError:
        traceback.format_exc()
    '\udc80/'.encode('ascii', 'backslashreplace')
    b'\xff'.decode('ascii', 'backslashreplace')
    ctypes.get_errno()
    gc.collect()
    getattr(gc, 'freeze', int)()    # workers share what it does not write to


def _spare_from_oom() -> None:
    """Be the last that the kernel ends for want of memory, if it may be."""
    try:
        with open('/proc/self/oom_score_adj', 'w') as score:
            score.write('-1000')
    except OSError:
        pass


def run(request: channel.Message, folder: journal.Folder, lock: int,
        disk: str, there: channel.Channel) -> None:
    """Be the supervisor, and end with it; never returns.

    Whatever goes wrong in here, the workers undo when this process is gone.
    """
    def tell(report: channel.Message) -> bool:
        heard = there.send(report)
        there.close()
        return heard

    try:
        os.setsid()
        channel.detach([lock, folder.descriptor, there.fileno()])
        try:
            _warm_up()
            _spare_from_oom()
            syscalls.lock_memory()
            held = supervisor.Supervisor(request, folder, lock)
        except (OSError, MemoryError) as error:
            tell({'version': protocol.VERSION, 'token': request['token'],
                  'status': int(protocol.Status.UNABLE),
                  'reason': 'no memory to lock, or no socket: %s'
                            % (error or 'out of memory')})
            folder.remove(lock)
            return
        window.Window(held, disk, tell).run()
    except Exception:
        folder.note(traceback.format_exc())
    finally:
        os._exit(0)
