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

The one adapter between libvirt's C library and the concurrency of the Cinder
we run in: eventlet, where a C call would stop every green thread of the
process, or native threads. Nothing here imports eventlet; Cinder's own
``tpool_wrap`` knows which of the two it is.
"""

from collections.abc import Callable
import threading
from typing import Any

from cinder import utils


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


def off_the_loop(blocking: Any) -> Any:
    """Return a function, or an object, whose calls stop no green thread."""
    wrap = getattr(utils, 'tpool_wrap', None)
    if wrap is None:        # Cinder before 2026.2: eventlet only
        wrap = utils.tpool.Proxy
    return wrap(blocking)
