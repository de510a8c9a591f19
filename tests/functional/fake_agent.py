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

"""A hostile guest agent, which runs in the guest in the real one's place.

Usage: fake_agent.py SECONDS VOLUME. For so long at the most it answers
libvirt's guest-sync and three commands of the tests:

    be MODE SECONDS     misbehave as MODE says, until told otherwise; for
                        SECONDS at the most, then open the port anew: libvirt
                        does not recover from everything without that
    heard               return the requests that came since
    end                 give the port back

and all else as MODE says. A mode is a function of a request, which returns
what is sent, a whole line or not, or None.
"""

import base64
from collections.abc import Callable
import json
import os
import select
import sys
import time
from typing import Any

PORT = '/dev/virtio-ports/org.qemu.guest_agent.0'
# Each would do harm if it ever became text of a program.
POINTS = ('/; touch /run/pwned', '$(touch /run/pwned)', '-o bind', '/\n/etc',
          '/' + 4095 * 'x', '\ud800/\x00', '')
EXEC, STATUS = 'guest-exec', 'guest-exec-status'
FSINFO, FREEZE = 'guest-get-fsinfo', 'guest-fsfreeze-freeze-list'
COMMANDS = (EXEC, STATUS, FSINFO, FREEZE, 'guest-fsfreeze-thaw',
            'guest-fsfreeze-status')

Request = dict[str, Any]


def said(value: Any) -> bytes:
    """Return an answer as an agent gives it."""
    return json.dumps({'return': value}).encode() + b'\n'


def info(*blocked: str) -> bytes:
    """Return guest-info, with some commands blocked."""
    return said({'supported_commands': [
        {'name': name, 'enabled': name not in blocked}
        for name in COMMANDS]})


def mount(point: str, number: int, slot: int = 31) -> dict[str, Any]:
    """Return an entry of guest-get-fsinfo; only slot 31 is the volume's."""
    return {'name': f'fs{number}', 'mountpoint': point, 'type': 'a=1,\n',
            'disk': [{'serial': VOLUME[:20] if slot == 31 else 'another',
                      'pci-controller': {'domain': 0, 'bus': 0, 'slot': slot,
                                         'function': 0}}]}


def always(*answers: bytes | None) -> Callable[[Request], bytes | None]:
    """Return a mode that answers so whatever is asked, in turns."""
    turns = list(answers)
    return lambda request: turns[0] if len(turns) == 1 else turns.pop(0)


def programs(status: Any) -> Callable[[Request], bytes | None]:
    """Return a mode that carries out guest-exec, and says that of its end."""
    return lambda request: {
        'guest-info': info(), EXEC: said({'pid': 1}), STATUS: said(status),
        'guest-fsfreeze-status': said('thawed'),
    }.get(request['execute'], said(0))


def report(*points: str, times: int = 1, **changes: Any
           ) -> Callable[[Request], bytes | None]:
    """Return a mode in which each program reports that all went well.

    :param points: where file systems are said to be mounted
    :param times: how often each is said
    :param changes: of each file system's fields
    """
    asked: dict[str, Any] = {}

    def answer(request: Request) -> bytes | None:
        if request['execute'] == EXEC:
            asked.clear()
            asked.update(json.loads(request['arguments']['arg'][-1]))
        said_so = json.dumps(reported(asked, list(points) * times, changes))
        return programs({'exited': True, 'exitcode': 0, 'out-data':
                         base64.b64encode(said_so.encode()).decode()})(request)
    return answer


def reported(asked: dict[str, Any], points: list[str],
             changes: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a guardian's start, or of its release."""
    common = {'version': 1, 'status': 0, 'token': asked.get('token'),
              'reason': '', 'remarks': [],
              'mounts': [[f'1:{n}', 'ext4', point]
                         for n, point in enumerate(points)]}
    if 'lease' not in asked:
        return {**common, 'released': True, 'filesystems': [
            {'device': f'1:{n}', 'type': 'ext4', 'was': 'flagged',
             'own': True, 'point': point, 'changed': [], 'undo': 'undone',
             'thawed': False} for n, point in enumerate(points)]}
    return {**common, 'kernel': '6.1.0', 'disk': 'vdb', 'ms': {},
            'dirty_kb': 0, 'armed': True, 'filesystems': [
                {'device': f'1:{n}', 'type': 'ext4', 'state': 'flagged',
                 'point': point, 'own': True, 'depth': 0, 'barrier': True,
                 'flush': 'done', 'pulse': 'none', 'changed': [],
                 'errors': {}, **changes} for n, point in enumerate(points)]}


def freezes(counted: Any, *mounts: dict[str, Any]
            ) -> Callable[[Request], bytes | None]:
    """Return a mode that blocks guest-exec and counts falsely."""
    return lambda request: {
        'guest-info': info(EXEC), FSINFO: said(list(mounts)),
        'guest-fsfreeze-status': said('thawed'),
    }.get(request['execute'], said(counted))


def trickles(request: Request) -> None:
    """Send a byte now and then, and never an end."""
    while time.monotonic() < until:
        os.write(port, b'[')
        time.sleep(0.1)


def modes() -> dict[str, Callable[[Request], bytes | None]]:
    """Return all ways to misbehave but those of guest-sync, by name."""
    points = [mount(point, n) for n, point in enumerate(POINTS)]
    return {
        'garbage': always(bytes(range(256)) * 4 + b'\n'),
        'no utf-8': always(b'{"return": {"supported_commands": "\xff"}}\n'),
        'error': always(b'{"error": {"class": "GenericError", "desc": "\\n\\u'
                        b'001b[2Jlevel=filesystem' + 50000 * b'x' + b'"}}\n'),
        'binary error': always(
            b'{"error": {"class": "GenericError", "desc": "\xff\xfe"}}\n'),
        'nested': always(
            b'{"return": ' + 3000 * b'[' + 3000 * b']' + b'}\n'),
        'number': always(b'{"return": ' + 9000 * b'9' + b'}\n'),
        'types': always(said({'supported_commands': {'name': [True]}})),
        'pid': lambda request: (info() if request['execute'] == 'guest-info'
                                else said({'pid': '1; touch /run/pwned'})),
        '2 MiB': always(said('x' * (2 << 20))),
        '6 MiB': always(said('x' * (6 << 20))),
        '12 MiB': always(said('x' * (12 << 20))),
        'mute': always(None),
        'trickle': trickles,
        'endless program': programs({'exited': False}),
        'busy program': programs({'exited': True, 'exitcode': 4}),
        'false report': report('/mnt', state='; touch /run/pwned'),
        'long report': report('/mnt', times=999),
        'report of points': report('/;touch$IFS/run/pwned', '/-o bind\n',
                                   '/\x1b[2J'),
        'counts too many': freezes(2 ** 64, mount('/', 1)),
        'counts below none': freezes(-1, mount('/', 1)),
        'counts falsely': freezes(True, mount('/', 1)),
        'mount points': freezes(0, *points, mount('/other', 9, 3)),
        "another's device": freezes(1, mount('/other', 9, 3)),
    }


def synced(request: Request) -> bytes | None:
    """Answer libvirt's guest-sync, or not, as the mode says."""
    if mode == 'silent':
        return None
    identity = request['arguments']['id']
    return said(identity + (mode == 'other id'))


def commanded(request: Request) -> bytes | None:
    """Do what the tests say, else what the mode says."""
    global mode, until, known
    name, arguments = request['execute'], request.get('arguments', {})
    if name in ('guest-sync', 'guest-sync-delimited'):
        return synced(request)
    if name == 'heard':
        return said(heard)
    if name == 'be':
        mode, until = arguments['mode'], time.monotonic() + arguments['for']
        known = modes()
        heard.clear()
        return said(None)
    if name == 'end':
        os.write(port, said(None))
        sys.exit()
    heard.append(request)
    return known.get(mode, always(None))(request)


def reopened() -> int:
    """Close the port and open it again: libvirt forgets what came before."""
    os.close(port)
    time.sleep(0.3)
    return os.open(PORT, os.O_RDWR)


def serve() -> None:
    """Answer line by line until the time is over."""
    global mode, port
    pending = b''
    while time.monotonic() < end:
        readable = select.select([port], [], [], 0.2)[0]
        if mode and time.monotonic() > until:
            mode, port = '', reopened()
            continue
        if not readable:
            continue
        piece = os.read(port, 65536)
        if not piece:           # nobody is at the other end
            time.sleep(0.1)
        *lines, pending = (pending + piece).split(b'\n')
        for line in lines:
            with_request(line)


def with_request(line: bytes) -> None:
    """Answer one request; what is none, libvirt sends to resynchronise."""
    try:
        request = json.loads(line)
    except ValueError:
        return
    answer = commanded(request)
    while answer:
        answer = answer[os.write(port, answer):]


if __name__ == '__main__':
    end, VOLUME = time.monotonic() + float(sys.argv[1]), sys.argv[2]
    mode, until = '', 0.0
    heard: list[Request] = []
    known = modes()
    port = os.open(PORT, os.O_RDWR)
    serve()
