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

"""Blocking C calls, in native threads of our own and for a bounded time.

The one adapter between C libraries (libvirt's, librbd's) and the concurrency
of the process we run in: eventlet, where a C call would stop every green
thread, or native threads. Cinder's own pool for such calls is not used: it has
20 threads, for the transfers of all backups, and a host whose libvirt never
answers would take one with every call.

A call that hangs cannot be ended. It is given up, and as long as it has not
come back nobody calls the same place again. Its thread keeps no process from
ending.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import os
import posix
import socket
import sys
import threading
import time
import types
from typing import Any
from typing import Generic
from typing import TypeVar

MOST_CALLS = 128        # at once in a process: each has a thread
MOST_TO_ONE = 32        # of those, to one place
_Result = TypeVar('_Result')


class NotCalledError(Exception):
    """Nothing was called, and why."""


class _Call(Generic[_Result]):
    """A call that is under way, or has come back.

    :ivar given_up: nobody waits for it any more
    :ivar is_back: it has ended, whatever it came to
    """

    def __init__(self, place: str, function: Callable[..., _Result],
                 args: tuple[object, ...]) -> None:
        self.place = place
        self.began = time.monotonic()
        self.given_up = self.is_back = False
        self._function, self._args = function, args
        self._results: list[_Result] = []
        self._error: BaseException | None = None
        # A native one, for both kinds of threads; nobody waits in it.
        self._lock = _threading().Lock()

    def run(self, told: int) -> None:
        """Make the call, in a native thread, and tell who waits."""
        try:
            self._keep(self._function(*self._args))
        except BaseException as error:
            # A traceback would hold what was called, as the next line does:
            # letting go of a connection is a blocking call, too.
            self._error = error.with_traceback(None)
        del self._function, self._args
        self.is_back = True
        # os.write is eventlet's by now, and would wait for who waits no more.
        with contextlib.suppress(OSError):
            posix.write(told, b'.')
        posix.close(told)

    def _keep(self, result: _Result) -> None:
        """Keep it, if somebody waits for it.

        A connection that nobody wants ends here, by going: that blocks, too.
        """
        with self._lock:
            if not self.given_up:
                self._results.append(result)

    def give_up(self) -> None:
        """Wait no longer, unless there is a result by now."""
        with self._lock:
            self.given_up = not (self._results or self._error)

    def result(self) -> _Result:
        """Return what the function returned, or raise what it raised."""
        if self._error:
            raise self._error
        return self._results[0]


# Any: of calls of every kind. A set's own operations need no lock.
_calls: set[_Call[Any]] = set()
_kept: list[list[object]] = []


def call(place: str, timeout: float, function: Callable[..., _Result],
         *args: object) -> _Result:
    """Return ``function(*args)``, run in a native thread.

    :param place: what is called, such as a host: one that hangs is not called
        again until it has answered
    :param timeout: seconds; a call that takes longer is left to end by
        itself and its result is dropped
    :raises TimeoutError: it took longer
    :raises NotCalledError: it was not called, since a call there hangs, or
        too many are under way, or there is no thread for it
    """
    _check_room(place)
    made: _Call[_Result] = _Call(place, function, args)
    waits, told = _ends()
    with waits:
        _start(lambda: made.run(told), told)
        _calls.add(made)
        try:
            waits.settimeout(max(timeout, 0.001))
            waits.recv(1)
        except socket.timeout:
            made.give_up()
        except BaseException:
            # Who waited is ended, as a green thread may be.
            made.give_up()
            raise
        finally:
            if not made.given_up:
                _calls.discard(made)
    if made.given_up:
        raise TimeoutError(f'{function!r} took more than {timeout} s')
    return made.result()


def let_go(things: list[object], first: Callable[[], object]) -> None:
    """Let go of C objects, which blocks: in a native thread, unwaited for.

    Also where a call hangs, and whatever comes of it.

    :param things: all references to them; emptied
    :param first: called before
    """
    held, things[:] = things[:], []

    def run() -> None:
        with contextlib.suppress(Exception):
            first()
        held.clear()

    try:
        _start(run)
    except NotCalledError:
        # They stay until the process ends, rather than block it.
        _kept.append(held)


def run_forever(function: Callable[[], object]) -> None:
    """Call ``function`` over and over, in a native thread.

    :raises NotCalledError: there is no thread for it
    """
    def loop() -> None:
        while True:
            function()

    _start(loop)


def _check_room(place: str) -> None:
    """See that one more call may be made there.

    :raises NotCalledError: it may not
    """
    _calls.difference_update([each for each in list(_calls)
                              if each.given_up and each.is_back])
    there = [each for each in list(_calls) if each.place == place]
    hung = [each for each in there if each.given_up]
    if hung:
        raise NotCalledError(
            f'a call to it has not come back for '
            f'{time.monotonic() - hung[0].began:.0f} s, and no other one is '
            f'made before that')
    if len(there) >= MOST_TO_ONE or len(_calls) >= MOST_CALLS:
        raise NotCalledError(
            f'{len(there)} calls to it, and {len(_calls)} in all, are under '
            f'way')


def _ends() -> tuple[socket.socket, int]:
    """Return a socket to wait at, and a descriptor for a native thread.

    A socket is the one thing to wait for that both kinds of threads share.

    :raises NotCalledError: there are no descriptors left
    """
    try:
        waits, tells = socket.socketpair()
        with tells:
            return waits, os.dup(tells.fileno())
    except OSError as error:
        raise NotCalledError(str(error)) from error


def _start(run: Callable[[], None], told: int | None = None) -> None:
    """Start a native thread, if there can be one.

    One that is started while the interpreter ends never runs, and before
    Python 3.12 ``Thread.start`` waits for it for ever.

    :param told: a descriptor of the thread's, to be closed if there is none
    :raises NotCalledError: there cannot
    """
    try:
        if sys.is_finalizing():
            raise RuntimeError('the process ends')
        _threading().Thread(target=run, name='wt-native', daemon=True).start()
    except RuntimeError as error:
        if told is not None:
            os.close(told)
        raise NotCalledError(str(error)) from error


def _threading() -> types.ModuleType:
    """Return the module whose threads are native ones.

    In a process that eventlet has patched, that is the one that it has kept.
    """
    patcher = sys.modules.get('eventlet.patcher')
    if patcher is None or not patcher.is_monkey_patched('thread'):
        return threading
    original: types.ModuleType = patcher.original('threading')
    return original
