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

"""Blocking C calls, off the event loop and for a bounded time.

The one adapter between libvirt's C library and the concurrency of the process
we run in: eventlet, where a C call would stop every green thread, or native
threads. Nothing here imports eventlet: the service, which knows what it runs
under, says how a call leaves the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
import sys
import threading
from typing import Protocol
from typing import TypeVar


_Result = TypeVar('_Result')
_Blocking = TypeVar('_Blocking')


class NotCalledError(Exception):
    """There is no thread for a call: the process ends, or has too many."""


class Wrapper(Protocol):
    """Returns a function, or an object, whose calls stop no green thread."""

    def __call__(self, blocking: _Blocking, /) -> _Blocking:
        """Return the like of ``blocking``, to be called in its place."""


def _as_it_is(blocking: _Blocking, /) -> _Blocking:
    return blocking


# Set by :func:`cinder_wt_backup.service.process.adapt`; with native threads
# nothing has to be wrapped.
off_the_loop: Wrapper = _as_it_is


def call(timeout: float, function: Callable[..., _Result],
         *args: object) -> _Result:
    """Return ``function(*args)``, run in a native thread.

    :param timeout: seconds; a call that takes longer is left to end by
        itself and its result is dropped
    :raises TimeoutError: it took longer
    :raises NotCalledError: no thread could be started for it
    """
    results: list[_Result] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(off_the_loop(function)(*args))
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    _start(threading.Thread(target=run, name='wt-native', daemon=True))
    if not done.wait(timeout):
        raise TimeoutError(f'{function!r} took more than {timeout} s')
    if errors:
        raise errors[0]
    return results[0]


def run_forever(function: Callable[[], object]) -> None:
    """Call ``function`` over and over, each time in a native thread.

    :param function: has to return every now and then: a process that ends
        waits for the call that is under way (eventlet.tpool.killall)
    """
    once = off_the_loop(function)

    def loop() -> None:
        while True:
            once()

    _start(threading.Thread(target=loop, name='wt-native-loop', daemon=True))


def _start(thread: threading.Thread) -> None:
    """Start a thread, if there can be one.

    One that is started while the interpreter ends never runs, and before
    Python 3.12 ``Thread.start`` waits for it for ever.

    :raises NotCalledError: there cannot
    """
    if sys.is_finalizing():
        raise NotCalledError('the process ends')
    try:
        thread.start()
    except RuntimeError as error:
        raise NotCalledError(str(error)) from error
