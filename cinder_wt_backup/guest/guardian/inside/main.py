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

"""Where the program begins: one command, one report, one status."""

import json
import os
import re
import sys
import typing

from cinder_wt_backup.guest.guardian.inside import channel
from cinder_wt_backup.guest.guardian.inside import client
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import protocol

Status = protocol.Status


def request_of(arguments: typing.List[str]) -> channel.Message:
    """Return a request of which every field is of its kind.

    :raises ValueError: it is none of this version
    """
    command, text = arguments
    if len(text) > protocol.MAX_REQUEST:
        raise ValueError('too long')
    fields = protocol.COMMANDS[command]
    request = json.loads(text)
    if type(request) is not dict or set(request) != set(fields):
        raise ValueError('other fields')
    for name, kind in fields.items():
        if not _is_valid(name, kind, request[name]):
            raise ValueError(name)
    return dict(request, command=command)


def _is_valid(name: str, kind: type, value: object) -> bool:
    if type(value) is not kind:
        return False
    if isinstance(value, str):
        return re.fullmatch(protocol.TEXTS[name], value) is not None
    if name == 'version':
        return value == protocol.VERSION
    return isinstance(value, int) and 0 <= value <= protocol.MAX_SECONDS


def report_on(arguments: typing.List[str]) -> channel.Message:
    """Do what is asked for; return the report."""
    try:
        request = request_of(arguments)
    except (ValueError, KeyError) as error:
        return protocol.report_of(Status.REFUSED, '',
                                  'the request: %s' % error)
    try:
        if request['command'] == 'start':
            return client.start(request)
        return client.call(request)
    except (OSError, journal.UnsafeError) as error:
        # Before a supervisor is there, only start can say: nothing changed.
        started = request['command'] == 'start'
        return protocol.report_of(
            Status.UNABLE if started else Status.STUCK, request['token'],
            str(error))


def main() -> None:
    """Print the report and end with its status, without returning.

    The status 1 is an interpreter's own, from before it came here.
    """
    status = int(Status.UNKNOWN)
    try:
        os.chdir('/')
        os.umask(0o77)
        report = report_on(sys.argv[1:])
        status = int(report['status'])
        text = json.dumps(report).encode('ascii') + b'\n'
        while text:
            text = text[os.write(1, text):]
    finally:
        os._exit(status)
