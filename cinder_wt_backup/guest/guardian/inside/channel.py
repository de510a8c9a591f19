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

"""Messages between the processes of the program: a JSON text on a line."""

import json
import os
import select
import socket
import time
import typing

from cinder_wt_backup.guest.guardian.inside import protocol

Message = typing.Dict[str, typing.Any]      # as JSON gives it; checked by use
PIECE = 1 << 16


class Channel:
    """One end of a pair of sockets."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._rest = b''

    def fileno(self) -> int:
        """Return its descriptor, for select."""
        return self.end.fileno()

    def send(self, message: Message) -> bool:
        """Send; whether somebody may still read it."""
        try:
            self.end.sendall(json.dumps(message).encode('ascii') + b'\n')
        except OSError:
            return False
        return True

    def receive(self, seconds: typing.Optional[float] = None
                ) -> typing.Optional[Message]:
        """Return the next message; None: the other end is gone, or late.

        :raises TimeoutError: nothing came in time
        """
        end = None if seconds is None else time.monotonic() + seconds
        while b'\n' not in self._rest:
            left = None if end is None else max(0, end - time.monotonic())
            if not select.select([self.end], [], [], left)[0]:
                raise TimeoutError()
            try:
                piece = self.end.recv(PIECE)
            except OSError:
                piece = b''
            if not piece or len(self._rest) > protocol.MAX_REPORT:
                return None
            self._rest += piece
        line, self._rest = self._rest.split(b'\n', 1)
        message: Message = json.loads(line.decode('ascii'))
        return message

    def close(self) -> None:
        """Close this end."""
        self.end.close()


def pair() -> typing.Tuple[Channel, Channel]:
    """Return two ends that are connected."""
    first, second = socket.socketpair()
    return Channel(first), Channel(second)


def detach(kept: typing.Iterable[int]) -> None:
    """Let go of everything inherited but these: before anything may hang.

    An agent calls a program ended when nobody holds its pipes any more.
    """
    nothing = os.open('/dev/null', os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    spared = {0, 1, 2}.union(kept)
    for name in os.listdir('/proc/self/fd'):
        if int(name) not in spared:
            try:
                os.close(int(name))
            except OSError:
                pass            # that of the list itself
