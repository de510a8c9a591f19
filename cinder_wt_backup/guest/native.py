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
import threading
from typing import Any


def _as_it_is(blocking: Any) -> Any:
    return blocking


# Returns a function, or an object, whose calls stop no green thread; set by
# :func:`cinder_wt_backup.service.process.adapt`. With native threads none is.
off_the_loop: Callable[[Any], Any] = _as_it_is


def call(timeout: float, function: Callable[..., Any], *args: Any) -> Any:
    """Return ``function(*args)``, run in a native thread.

    :param timeout: seconds; a call that takes longer is left to end by
        itself and its result is dropped
    :raises TimeoutError: it took longer
    """
    result: list[Any] = []
    done = threading.Event()

    def run() -> None:
        try:
            result.append((off_the_loop(function)(*args), None))
        except BaseException as error:
            result.append((None, error))
        finally:
            done.set()

    threading.Thread(target=run, name='wt-native', daemon=True).start()
    if not done.wait(timeout):
        raise TimeoutError(f'{function!r} took more than {timeout} s')
    value, error = result[0]
    if error is not None:
        raise error
    return value


def run_forever(function: Callable[[], Any]) -> None:
    """Call ``function`` over and over, each time in a native thread.

    :param function: has to return every now and then: a process that ends
        waits for the call that is under way (eventlet.tpool.killall)
    """
    once = off_the_loop(function)

    def loop() -> None:
        while True:
            once()

    threading.Thread(target=loop, name='wt-native-loop', daemon=True).start()
