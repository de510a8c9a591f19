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

"""A libvirtd that answers nobody: stopped, as a host that swaps would.

And a host that answers nobody, as one without power.
"""

import socket
import threading
import time

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.hypervisor import host as compute_host
from tests.support import bounded
from tests.support.cloud import layout
from tests.support.machines import second_host

# Of one answer, seconds.
SILENCE = 5
CALLERS = 40


def running(uri: str) -> int:
    """Return how many domains a host says to run."""
    with compute_host.Hypervisor(uri, SILENCE) as host:
        return host.running()


class SilentTestCase(bounded.TestCase):

    def reasons(self, uri: str) -> list[str]:
        """Have many ask at once; return why it was not to be had."""
        reasons: list[str] = []

        def ask() -> None:
            try:
                running(uri)
            except exceptions.HostUnreachable as error:
                reasons.append(str(error))
        threads = [threading.Thread(target=ask) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return reasons

    def assert_one_bounded_wait(self, uri: str) -> None:
        """See that nobody waits for longer than the first."""
        began = time.monotonic()
        first = self.reasons(uri)
        # Whoever comes later waits for nothing.
        second = self.reasons(uri)
        self.assertLess(time.monotonic() - began, 3 * SILENCE)
        self.assertEqual(
            CALLERS, sum('did not answer within' in reason for reason in first)
            + sum('was not asked' in reason for reason in first), first)
        self.assertEqual(CALLERS, sum(
            'has not come back for' in reason for reason in second), second)


class HungHost(SilentTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.host = self.useFixture(second_host.SecondHost())

    def test_it_costs_all_that_ask_one_bounded_wait(self) -> None:
        self.assertEqual(0, running(self.host.uri))
        with self.host.stopped():
            self.assert_one_bounded_wait(self.host.uri)

    def test_when_its_call_has_come_back_it_is_asked_again(self) -> None:
        with self.host.stopped():
            self.assertRaises(exceptions.HostUnreachable, running,
                              self.host.uri)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                self.assertEqual(0, running(self.host.uri))
                return
            except exceptions.HostUnreachable as error:
                self.assertIn('has not come back for', str(error))
            time.sleep(0.2)
        self.fail('it is not asked any more')


class DeadHost(SilentTestCase):

    def full(self) -> str:
        """Return the URI of a port that takes no connection any more.

        As a host without power, it does not answer: the system drops what
        does not fit into its queue.
        """
        server = socket.create_server((layout.ADDRESS, 0), backlog=0)
        self.addCleanup(server.close)
        self.addCleanup(socket.create_connection(server.getsockname()).close)
        return f'qemu+tcp://{layout.ADDRESS}:{server.getsockname()[1]}/system'

    def test_it_costs_all_that_ask_one_bounded_wait(self) -> None:
        self.assert_one_bounded_wait(self.full())
