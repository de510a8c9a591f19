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

"""The socket for the short calls, in the folder that only root can enter."""

import json
import os
import socket
import typing

from cinder_wt_backup.guest.guardian.inside import channel
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import protocol

PATIENCE = 0.5                  # seconds for a call to say what it wants


class Listener:
    """Takes calls.

    :ivar releases: those that wait for a report
    :ivar thawed: a host said that its freeze has ended
    """

    def __init__(self, folder: journal.Folder) -> None:
        self.releases: typing.List[channel.Channel] = []
        self.thawed = False
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = os.path.join(folder.path, journal.SOCKET)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self._end.bind(path)
        self._end.listen(8)

    def fileno(self) -> int:
        """Return its descriptor, for select."""
        return self._end.fileno()

    def close(self) -> None:
        """Take no more calls; who has called is still answered."""
        self._end.close()

    def accept(self, token: str) -> None:
        """Take one call; another window's are told that theirs is over.

        One that cannot be read gets no answer: nothing is known of it.
        """
        caller = channel.Channel(self._end.accept()[0])
        try:
            message = caller.receive(PATIENCE)
        except (TimeoutError, ValueError):
            message = None
        if message is None:
            caller.close()
        elif message.get('token') != token:
            self._reply(caller, token, protocol.Status.LAPSED)
        elif message.get('command') == 'thawed':
            self.thawed = True
            self._reply(caller, token, protocol.Status.DONE)
        else:
            self.releases.append(caller)

    def answer(self, report: channel.Message) -> None:
        """Answer all that wait for a report."""
        for caller in self.releases:
            caller.send(report)
            caller.close()
        self.releases = []

    def _reply(self, caller: channel.Channel, token: str,
               status: protocol.Status) -> None:
        caller.send({'version': protocol.VERSION, 'status': int(status),
                     'token': token, 'reason': ''})
        caller.close()


def call(folder: journal.Folder, message: channel.Message, seconds: float
         ) -> typing.Optional[channel.Message]:
    """Call the supervisor; None: there is none.

    :raises TimeoutError: it did not answer in time
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        end.settimeout(seconds)
        end.connect(os.path.join(folder.path, journal.SOCKET))
        caller = channel.Channel(end)
        if not caller.send(message):
            return None
        return caller.receive(seconds)
    except socket.timeout:
        raise TimeoutError()
    except (OSError, json.JSONDecodeError):
        return None
    finally:
        end.close()
