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


"""A guest as tests see it: programs and files, through the guest agent.

Every message has a time limit. libvirt's own limit for a message is 4 MiB,
so files travel in pieces. The agent is slow at what programs print (2 MB took
it half a minute under emulation): print more than a little to a file, and
read that.
"""

import base64
import collections.abc
import contextlib
import dataclasses
import json
import time
import typing

import libvirt
import libvirt_qemu

_PIECE = 512 * 1024
_SETTINGS = 'cat /proc/self/mountinfo; grep . /proc/sys/vm/dirty*; '
_LEFT = ('ls -A /run | grep cinder-wt; '
         'systemctl list-units --all --no-legend "cinder-wt*"; '
         'cat /proc/[0-9]*/cmdline | tr "\\0" "\\n" | '
         'grep "leas[e].:"; '
         'true')
_MESSAGE_SECONDS = 20
# Shift, on the keyboard that every emulated PC has: it types nothing.
_KEY, _KEY_MILLISECONDS = 42, 50
_KEYBOARD = '/dev/input/by-path/platform-i8042-serio-0-event-kbd'
_DROP_IN = '/run/systemd/system/qemu-guest-agent.service.d/blocked.conf'


class GuestError(Exception):
    """The agent, or a program in the guest, did not do what was asked."""


@dataclasses.dataclass(frozen=True)
class Result:
    """How a program in the guest ended; signal N is the status -N."""

    status: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """What it printed, decoded, without the white space around it."""
        return self.out.decode(errors='replace').strip()


class Guest:
    """One guest with an agent, behind a libvirt domain."""

    def __init__(self, domain: libvirt.virDomain) -> None:
        self.domain = domain

    def command(self, name: str, **arguments: object) -> typing.Any:
        """Send one agent command; underscores stand for dashes."""
        given = {key.replace('_', '-'): value
                 for key, value in arguments.items()}
        message = json.dumps({'execute': name, 'arguments': given})
        try:
            answer = libvirt_qemu.qemuAgentCommand(
                self.domain, message, _MESSAGE_SECONDS, 0)
        except libvirt.libvirtError as error:
            raise GuestError(f'{name}: {error}') from error
        return json.loads(answer)['return']

    def wait(self, timeout: float = 180) -> None:
        """Wait until the agent answers."""
        end = time.monotonic() + timeout
        while True:
            try:
                self.command('guest-ping')
                return
            except GuestError as error:
                if time.monotonic() > end:
                    raise GuestError('the guest agent did not answer in '
                                     f'{timeout:.0f} s: {error}') from error
            time.sleep(1)

    def permits(self, name: str) -> bool:
        """Return whether the agent carries a command out."""
        supported = self.command('guest-info')['supported_commands']
        return any(command['enabled'] for command in supported
                   if command['name'] == name)

    def run(self, *argv: str, given: bytes = b'', timeout: float = 60,
            check: bool = True) -> Result:
        """Run a program to its end, with ``given`` as its standard input.

        :raises GuestError: it is not over in time (and is left running), or
            ``check`` is set and its status is not 0
        """
        pid = self._exec(argv, given, True)
        end = time.monotonic() + timeout
        pause = 0.05
        while (result := self.result(pid)) is None:
            if time.monotonic() > end:
                raise GuestError(f'{argv} still runs after {timeout:.0f} s')
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
        if check and result.status:
            raise GuestError(f'{argv} ended with status {result.status}: '
                             f'{result.err.decode(errors="replace").strip()}')
        return result

    def state(self) -> str:
        """All that a window may change in a guest, and what it may leave."""
        return self.run('sh', '-c', _SETTINGS + _LEFT).text

    def left(self) -> str:
        """What a window may leave: empty when it has left nothing."""
        return self.run('sh', '-c', _LEFT).text

    def spawn(self, *argv: str) -> int:
        """Start a program, without its output; return its process id."""
        return self._exec(argv, b'', False)

    def result(self, pid: int) -> Result | None:
        """How a started program ended; None while it runs.

        The agent forgets a program once it has told how it ended.
        """
        answer = self.command('guest-exec-status', pid=pid)
        if not answer['exited']:
            return None
        if answer.get('out-truncated') or answer.get('err-truncated'):
            raise GuestError(f'process {pid} printed more than the agent '
                             'keeps: print to a file and read that')
        return Result(answer.get('exitcode', -answer.get('signal', 0)),
                      base64.b64decode(answer.get('out-data', '')),
                      base64.b64decode(answer.get('err-data', '')))

    def put(self, path: str, data: bytes) -> None:
        """Write a file."""
        with self._opened(path, 'wb') as handle:
            for start in range(0, len(data), _PIECE):
                piece = base64.b64encode(data[start:start + _PIECE])
                self.command('guest-file-write', handle=handle,
                             buf_b64=piece.decode())

    def read(self, path: str) -> bytes:
        """Read a file to its end."""
        data = b''
        with self._opened(path, 'rb') as handle:
            while True:
                answer = self.command('guest-file-read', handle=handle,
                                      count=_PIECE)
                data += base64.b64decode(answer['buf-b64'])
                if answer['eof']:
                    return data

    @contextlib.contextmanager
    def _opened(self, path: str, mode: str,
                ) -> collections.abc.Iterator[int]:
        handle = self.command('guest-file-open', path=path, mode=mode)
        try:
            yield handle
        finally:
            self.command('guest-file-close', handle=handle)

    def press_key(self) -> None:
        """End an ``until_key``: it works when no agent does."""
        self.domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, _KEY_MILLISECONDS,
                            [_KEY], 1, 0)

    def _exec(self, argv: collections.abc.Sequence[str], given: bytes,
              capture: bool) -> int:
        arguments: dict[str, object] = {
            'path': argv[0], 'arg': list(argv[1:]),
            'capture_output': capture}
        if given:
            arguments['input_data'] = base64.b64encode(given).decode()
        return self.command('guest-exec', **arguments)['pid']


def until_key(seconds: int) -> str:
    """Return a command that waits for a key, but not longer than that."""
    return (f'timeout {seconds} dd if={_KEYBOARD} of=/dev/null bs=24 count=1 '
            f'2>/dev/null')


def block_exec(seconds: int) -> str:
    """Return a script that has a guest's agent block guest-exec.

    The guest itself puts the agent back, since nothing can be run in it then:
    when a key is pressed, or after so many seconds.
    """
    return f"""
mkdir -p $(dirname {_DROP_IN})
printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/qemu-ga -b %s\\n' \
    guest-exec >{_DROP_IN}
systemd-run -q sh -c '{until_key(seconds)}; rm {_DROP_IN}; \
    systemctl daemon-reload; systemctl restart qemu-guest-agent'
systemd-run -q sh -c 'sleep 1; \
    systemctl daemon-reload; systemctl restart qemu-guest-agent'
sleep 0.2
"""
