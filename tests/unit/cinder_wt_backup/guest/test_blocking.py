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

import _thread
import ctypes
import os
import subprocess
import sys
import threading
import time
import types
from typing import Any

from cinder import utils
import fixtures

from cinder_wt_backup.guest import blocking
from tests.unit import base

# What is left open is closed when the interpreter clears its modules.
LEFT_OPEN = """
from cinder_wt_backup.guest import blocking

def held():
    try:
        yield
    finally:
        try:
            blocking.call('here', 5, print, 'called')
        except blocking.NotCalledError as error:
            print(error)
        blocking.let_go([], lambda: print('let go'))

left = held()
next(left)
"""


# Of the C library, so that it blocks under eventlet, too; as seconds.
_LIBC = ctypes.CDLL(None)


def block(seconds: float) -> None:
    _LIBC.usleep(round(1e6 * seconds))


def cinder_call(function: Any) -> Any:
    """Return a function as Cinder calls one that blocks."""
    proxy = getattr(getattr(utils, 'tpool', None), 'Proxy', None)
    return getattr(utils, 'tpool_wrap', proxy)(function)


class CallTest(base.TestCase):

    def test_a_process_that_ends_does_not_wait_for_it(self) -> None:
        ended = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', LEFT_OPEN], text=True,
            stdout=subprocess.PIPE, check=True, timeout=60)
        self.assertEqual('the process ends\n', ended.stdout)

    def test_without_a_thread_it_is_not_called(self) -> None:
        def thread(**_how: Any) -> None:
            raise RuntimeError("can't start new thread")
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.guest.blocking._threading',
            lambda: types.SimpleNamespace(Thread=thread,
                                          Lock=threading.Lock)))
        self.assertRaises(blocking.NotCalledError, blocking.call, 'here', 5,
                          max, 3, 7)

    def test_the_result_comes_back(self) -> None:
        self.assertEqual(7, blocking.call('here', 5, max, 3, 7))

    def test_the_functions_own_error_comes_back(self) -> None:
        self.assertRaises(ZeroDivisionError, blocking.call, 'here', 5,
                          divmod, 1, 0)

    def test_a_call_that_hangs_is_given_up(self) -> None:
        error = self.assertRaises(TimeoutError, blocking.call, 'here', 0.1,
                                  block, 1)
        self.assertIn('0.1 s', str(error))

    def test_one_that_was_given_up_leaves_no_thread(self) -> None:
        # eventlet's own os.write waits for a reader that is there no more.
        def threads() -> int:
            return len(os.listdir('/proc/self/task'))
        blocking.call('here', 5, max, 3, 7)
        before = threads()
        self.assertRaises(TimeoutError, blocking.call, 'here', 0.1, block, 0.3)
        for _try in range(500):
            if threads() == before:
                return
            time.sleep(0.01)
        self.fail(f'{threads()} threads instead of {before}')

    def test_no_call_leaves_a_descriptor(self) -> None:
        blocking.call('here', 5, max, 3, 7)
        before = len(os.listdir('/proc/self/fd'))
        for _ in range(200):
            blocking.call('here', 5, max, 3, 7)
        self.assertLess(len(os.listdir('/proc/self/fd')), before + 10)

    def test_what_hangs_is_not_called_again_before_it_is_back(self) -> None:
        self.assertRaises(TimeoutError, blocking.call, 'here', 0.1, block, 1)
        error = self.assertRaises(blocking.NotCalledError, blocking.call,
                                  'here', 5, max, 3, 7)
        self.assertIn('has not come back for', str(error))
        self.assertEqual(7, blocking.call('there', 5, max, 3, 7))
        self.await_return()
        self.assertEqual(7, blocking.call('here', 5, max, 3, 7))

    def await_return(self) -> None:
        for _try in range(500):
            if all(each.is_back for each in blocking._calls):
                return
            time.sleep(0.01)
        self.fail('it hangs still')

    def test_one_whose_caller_is_ended_hangs_all_the_same(self) -> None:
        class Ended(BaseException):
            pass

        def recv(*_args: Any) -> None:
            raise Ended
        with fixtures.MonkeyPatch('socket.socket.recv', recv):
            self.assertRaises(Ended, blocking.call, 'here', 5, block, 0.3)
        self.assertRaises(blocking.NotCalledError, blocking.call, 'here', 5,
                          max, 3, 7)
        self.await_return()
        self.assertEqual(7, blocking.call('here', 5, max, 3, 7))

    def test_what_comes_too_late_is_let_go_by_its_own_thread(self) -> None:
        # As a connection, whose end is a blocking call.
        ended = []
        self.assertRaises(TimeoutError, blocking.call, 'here', 0.1,
                          self.late, ended)
        self.await_return()
        self.assertEqual([False], ended)

    def late(self, ended: list[bool]) -> Any:
        block(0.5)
        here = _thread.get_ident()

        class Connection:
            def __del__(self) -> None:
                ended.append(_thread.get_ident() != here)
        return Connection()

    def test_a_process_and_a_place_have_a_limit(self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.guest.blocking.MOST_TO_ONE', 2))
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.guest.blocking.MOST_CALLS', 3))
        callers = [threading.Thread(target=blocking.call, args=(
            place, 5, block, 0.5)) for place in ('here', 'here', 'there')]
        for caller in callers[:2]:
            caller.start()
        time.sleep(0.1)
        error = self.assertRaises(blocking.NotCalledError, blocking.call,
                                  'here', 5, max, 3, 7)
        self.assertIn('2 calls to it', str(error))
        callers[2].start()
        time.sleep(0.1)
        self.assertRaises(blocking.NotCalledError, blocking.call,
                          'elsewhere', 5, max, 3, 7)
        for caller in callers:
            caller.join()
        self.assertEqual(7, blocking.call('here', 5, max, 3, 7))

    def test_nothing_is_taken_from_cinders_pool(self) -> None:
        # 40 hosts that hang, where Cinder has 20 threads for its transfers.
        callers = [threading.Thread(target=self.hang, args=(number,))
                   for number in range(40)]
        for caller in callers:
            caller.start()
        began = time.monotonic()
        self.assertEqual(7, cinder_call(max)(3, 7))
        self.assertLess(time.monotonic() - began, 1)
        for caller in callers:
            caller.join()

    def hang(self, number: int) -> None:
        self.assertRaises(TimeoutError, blocking.call, f'host {number}', 0.2,
                          block, 2)

    def test_others_go_on_meanwhile(self) -> None:
        ticks = []
        ticker = threading.Thread(
            target=lambda: [ticks.append(time.sleep(0.01)) for _ in range(5)])
        ticker.start()
        blocking.call('here', 5, block, 0.3)
        ticker.join()
        self.assertEqual(5, len(ticks))


class RunForeverTest(base.TestCase):

    def test_the_function_is_called_over_and_over(self) -> None:
        calls: list[None] = []

        def function() -> None:
            # Another kind of thread: it must not wait as ours do.
            calls.append(None)
            if len(calls) == 3:
                raise SystemExit        # so that the test leaves nothing

        blocking.run_forever(function)
        for _try in range(500):
            if len(calls) == 3:
                return
            time.sleep(0.01)
        self.fail(f'{len(calls)} calls')
