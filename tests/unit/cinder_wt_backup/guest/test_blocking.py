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

import subprocess
import sys
import threading
import time

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
            blocking.call(5, print, 'called')
        except blocking.NotCalledError as error:
            print(error)

left = held()
next(left)
"""


class CallTest(base.TestCase):

    def test_a_process_that_ends_does_not_wait_for_it(self) -> None:
        ended = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', LEFT_OPEN], text=True,
            stdout=subprocess.PIPE, check=True, timeout=60)
        self.assertEqual('the process ends\n', ended.stdout)

    def test_without_a_thread_it_is_not_called(self) -> None:
        def start(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")
        self.useFixture(fixtures.MonkeyPatch('threading.Thread.start', start))
        self.assertRaises(blocking.NotCalledError, blocking.call, 5, max, 3, 7)

    def test_the_result_comes_back(self) -> None:
        self.assertEqual(7, blocking.call(5, max, 3, 7))

    def test_the_functions_own_error_comes_back(self) -> None:
        self.assertRaises(ZeroDivisionError, blocking.call, 5, divmod, 1, 0)

    def test_a_call_that_hangs_is_given_up(self) -> None:
        error = self.assertRaises(TimeoutError, blocking.call, 0.1, time.sleep,
                                  1)
        self.assertIn('0.1 s', str(error))

    def test_others_go_on_meanwhile(self) -> None:
        ticks = []
        ticker = threading.Thread(
            target=lambda: [ticks.append(time.sleep(0.01)) for _ in range(5)])
        ticker.start()
        blocking.call(5, time.sleep, 0.3)
        ticker.join()
        self.assertEqual(5, len(ticks))


class RunForeverTest(base.TestCase):

    def test_the_function_is_called_over_and_over(self) -> None:
        enough = threading.Event()
        calls = []

        def function() -> None:
            calls.append(time.sleep(0.01))
            if len(calls) == 3:
                enough.set()
            if len(calls) > 3:
                raise SystemExit        # so that the test leaves nothing

        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.guest.blocking.off_the_loop',
            lambda wrapped: wrapped))
        blocking.run_forever(function)
        self.assertTrue(enough.wait(5))
