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

"""Progress lines, and commands that take a while. Standard library only."""

import collections
from collections.abc import Callable, Mapping, Sequence
import os
import pathlib
import subprocess
import time

# Monotonic time counts from boot, so it goes on when the program that set
# things up replaces itself with the virtual environment's interpreter.
_STARTED = float(os.environ.setdefault('WTCLOUD_STARTED',
                                       str(time.monotonic())))


class CloudError(Exception):
    """The cloud could not do it; the message says what to do next."""


def say(message: str) -> None:
    """One line of progress, with the seconds since the command started."""
    print(f'{time.monotonic() - _STARTED:7.1f} s  {message}', flush=True)


def tail(log: pathlib.Path, lines: int = 25) -> str:
    """The end of a log, for an error message."""
    try:
        with log.open(errors='replace') as text:
            last = ''.join(collections.deque(text, lines))
    except FileNotFoundError:
        return f'({log} does not exist)'
    return f'--- the end of {log}\n{last.rstrip()}\n---'


def run(*argv: str | os.PathLike[str], log: pathlib.Path,
        env: Mapping[str, str] | None = None,
        cwd: pathlib.Path | None = None, given: str = '') -> None:
    """Run a command to its end with its output in ``log``.

    ``given`` is its standard input. CloudError tells when it fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('a') as out:
        print('+', *argv, file=out, flush=True)
        done = subprocess.run(argv, input=given, text=True, stdout=out,
                              stderr=subprocess.STDOUT, env=env, cwd=cwd)
    if done.returncode:
        raise CloudError(f'{" ".join(map(str, argv))} ended with status '
                         f'{done.returncode}\n{tail(log)}')


def output(*argv: str | os.PathLike[str], given: str = '',
           env: Mapping[str, str] | None = None) -> str:
    """What a command prints. CloudError, with its errors, when it fails."""
    done = subprocess.run(argv, input=given, text=True, capture_output=True,
                          env=env)
    if done.returncode:
        raise CloudError(f'{" ".join(map(str, argv))} ended with status '
                         f'{done.returncode}: {done.stderr.strip()}')
    return done.stdout


def wait_for(what: str, ready: Callable[[], object], timeout: float,
             pause: float = 0.2, failed: Sequence[type[Exception]] = (),
             ) -> None:
    """Call ``ready`` until it is true, for at most ``timeout`` seconds.

    The exceptions in ``failed`` mean "not yet".
    """
    reason = ''
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            if ready():
                return
        except tuple(failed) as err:
            reason = f': {err}'
        time.sleep(pause)
    raise CloudError(f'{what} is not there after {timeout:.0f} s{reason}')
