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

"""A libvirtd that answers nobody: stopped, as a host that swaps would."""

import threading
import time

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.hypervisor import host as compute_host
from tests.support import bounded
from tests.support.machines import second_host

# Of one answer, seconds.
SILENCE = 5
CALLERS = 40


class HungHost(bounded.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.host = self.useFixture(second_host.SecondHost())

    def running(self) -> int:
        """Return how many domains it says to run."""
        with compute_host.Hypervisor(self.host.uri, SILENCE) as host:
            return host.running()

    def reasons(self) -> list[str]:
        """Have many ask at once; return why it was not to be had."""
        reasons: list[str] = []

        def ask() -> None:
            try:
                self.running()
            except exceptions.HostUnreachable as error:
                reasons.append(str(error))
        threads = [threading.Thread(target=ask) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return reasons

    def test_it_costs_all_that_ask_one_bounded_wait(self) -> None:
        self.assertEqual(0, self.running())
        with self.host.stopped():
            began = time.monotonic()
            first = self.reasons()
            # Whoever comes later waits for nothing.
            second = self.reasons()
            self.assertLess(time.monotonic() - began, 3 * SILENCE)
        self.assertEqual(
            CALLERS, sum('did not answer within' in reason for reason in first)
            + sum('was not asked' in reason for reason in first), first)
        self.assertEqual(CALLERS, sum(
            'has not come back for' in reason for reason in second), second)

    def test_when_its_call_has_come_back_it_is_asked_again(self) -> None:
        with self.host.stopped():
            self.assertRaises(exceptions.HostUnreachable, self.running)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                self.assertEqual(0, self.running())
                return
            except exceptions.HostUnreachable as error:
                self.assertIn('has not come back for', str(error))
            time.sleep(0.2)
        self.fail('it is not asked any more')
