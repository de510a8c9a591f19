#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""The lease of a freeze in a guest that has a shell, but no Python."""

from __future__ import annotations

from collections.abc import Collection
import re

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest.guardian.inside import assemble

PROGRAM = assemble.thaw()
REMOVE = 'rm -f "/run/cinder-wt-backup.$1"'
_NAME = re.compile(r'[a-z0-9!_-]{1,64}')


class Thaw:
    """Thaws file systems after a time, unless it was told not to.

    It is a process of the guest agent's service: what ends that as a whole
    ends it too.

    :param guest_agent: must permit guest-exec
    :param token: the window's name, hexadecimal
    :param timeout: seconds for each call
    """

    def __init__(self, guest_agent: agent.Agent, token: str,
                 timeout: int) -> None:
        self._agent = guest_agent
        self._token = token
        self._timeout = timeout

    def leave(self, devices: Collection[str], seconds: int) -> bool:
        """Have them thawed after so long; whether that is so.

        :param devices: block devices as the agent names them
        :raises AgentError: the guest was not heard of
        """
        if not all(_NAME.fullmatch(name) for name in devices):
            return False
        try:
            ended = self._agent.run(
                ('/bin/sh', '-c', PROGRAM, 'guardian', self._token,
                 str(seconds), *devices), b'', self._timeout)
        except exceptions.ProgramNotStarted:
            return False
        return ended.status == 0

    def remove(self) -> None:
        """Have nothing thawed any more; harmless when nothing would be.

        :raises AgentError: the guest was not heard of
        """
        self._agent.run(('/bin/sh', '-c', REMOVE, 'guardian', self._token),
                        b'', self._timeout)
