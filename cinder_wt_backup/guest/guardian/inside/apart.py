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

"""What may hang and changes nothing: done by a child that is given up."""

import fcntl
import os
import time
import typing

from cinder_wt_backup.guest.guardian.inside import blocks
from cinder_wt_backup.guest.guardian.inside import channel
from cinder_wt_backup.guest.guardian.inside import look
from cinder_wt_backup.guest.guardian.inside import team

BLKFLSBUF = 0x1261
GRACE = 2.0                     # seconds beyond a look's own budget


def _child(act: typing.Callable[[channel.Channel], None]
           ) -> typing.Tuple[channel.Channel, int]:
    here, there = channel.pair()
    process = os.fork()
    if process:
        there.close()
        return here, process
    try:
        channel.detach([there.fileno()])
        act(there)
    finally:
        os._exit(0)
    raise AssertionError


def look_at(disk: str, request: channel.Message, budget: float
            ) -> typing.Optional[look.Seen]:
    """Return what a look saw, as far as it came.

    None: not even the mounts, or no process could be made for it.
    Nothing is on a disk that is not the volume's any more: it was detached.
    """
    end = time.monotonic() + budget

    def act(there: channel.Channel) -> None:
        if blocks.find_disk(request['volume'], request['address']) != disk:
            there.send({'seen': look.Seen(disk, [], [], [])})
            return
        look.Look(end).at(disk, lambda seen: there.send({'seen': seen}))

    seen = None
    try:
        here, process = _child(act)
    except OSError:
        return None
    try:
        while True:
            message = here.receive(max(0, end + GRACE - time.monotonic()))
            if message is None:
                break
            seen = _typed_look(message['seen'])
        team.reap(process)
    except TimeoutError:
        pass
    finally:
        here.close()
    return seen


def _typed_look(seen: typing.List[typing.Any]) -> look.Seen:
    disk, filesystems, loose, remarks = seen
    return look.Seen(disk, [look.FileSystem(*each) for each in filesystems],
                     loose, remarks)


def flush(names: typing.List[str], all_too: bool, seconds: float) -> bool:
    """Flush devices without a file system; whether that was done in time.

    :param all_too: flush everything there is: something cannot be reached
    """
    if not (names or all_too):
        return True
    try:
        here, process = _child(lambda there: _flush(there, names, all_too))
    except OSError:
        return False
    try:
        message = here.receive(seconds)
        if message is not None:
            team.reap(process)
        return message is not None
    except TimeoutError:
        return False
    finally:
        here.close()


def _flush(there: channel.Channel, names: typing.List[str], all_too: bool
           ) -> None:
    for name in names:
        device = os.open('/dev/' + name, os.O_RDONLY | os.O_NONBLOCK
                         | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.ioctl(device, BLKFLSBUF, 0)
        os.close(device)
    if all_too:
        os.sync()
    there.send({'flush': 'done'})
