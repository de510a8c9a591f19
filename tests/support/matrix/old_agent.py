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


"""Runs in a guest: its own agent, which knows no more than an old one did.

Usage: old_agent.py SECONDS [COMMAND ...]. For so long it sits between the port
and a qemu-ga that listens on a socket. The commands that are named are not
there, and disks have no serial and no device: QEMU's qga/qapi-schema.json has
them since 3.1.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from typing import Any

PORT = '/dev/virtio-ports/org.qemu.guest_agent.0'
SOCKET = '/run/old_agent.sock'
NEWER = 'serial', 'dev'


def connected() -> socket.socket:
    """Return a connection to the agent, which may only just have started."""
    end = time.monotonic() + 10
    while True:
        agent = socket.socket(socket.AF_UNIX)
        try:
            agent.connect(SOCKET)
            return agent
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def refusal(line: bytes) -> bytes:
    """Return what an agent says to a command that it does not know."""
    try:
        name = json.loads(line.lstrip(b'\xff'))['execute']
    except (ValueError, LookupError):
        return b''
    if name not in UNKNOWN:
        return b''
    return json.dumps({'error': {
        'class': 'CommandNotFound',
        'desc': f'The command {name} has not been found'}}).encode() + b'\n'


def aged(line: bytes) -> bytes:
    """Return an answer as an old agent would give it."""
    try:
        answer = json.loads(line.lstrip(b'\xff'))
    except ValueError:
        return line
    found = answer.get('return')
    if isinstance(found, dict) and 'supported_commands' in found:
        found['supported_commands'] = [
            each for each in found['supported_commands']
            if each['name'] not in UNKNOWN]
    for mount in found if isinstance(found, list) else ():
        without_newer(mount)
    return json.dumps(answer).encode() + b'\n'


def without_newer(mount: dict[str, Any]) -> None:
    """Take from an entry of guest-get-fsinfo what came later."""
    for disk in mount.get('disk', ()):
        for name in NEWER:
            disk.pop(name, None)


def serve() -> None:
    """Pass on requests and answers, whole lines, until the time is over."""
    asked = answered = b''
    while time.monotonic() < END:
        ready = select.select([port, agent], [], [], 0.2)[0]
        if port in ready:
            piece = os.read(port, 65536)
            if not piece:           # nobody is at the other end
                time.sleep(0.1)
            *lines, asked = (asked + piece).split(b'\n')
            for line in lines:
                refused = refusal(line)
                if refused:
                    os.write(port, refused)
                else:
                    agent.sendall(line + b'\n')
        if agent in ready:
            *lines, answered = (answered + agent.recv(65536)).split(b'\n')
            for line in lines:
                os.write(port, aged(line))


if __name__ == '__main__':
    UNKNOWN = frozenset(sys.argv[2:])
    END = time.monotonic() + float(sys.argv[1])
    port = os.open(PORT, os.O_RDWR)
    with subprocess.Popen((
            'qemu-ga', '-m', 'unix-listen', '-p', SOCKET, '-t', '/run',
            '-f', '/run/old_agent.pid')) as process:
        try:
            agent = connected()
            serve()
        finally:
            process.terminate()
