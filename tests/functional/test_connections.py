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

"""A connection that is used again, and one that is renewed."""

from cinder_wt_backup.guest.hypervisor import connections
from cinder_wt_backup.guest.hypervisor import host as compute_host
from tests.support import bounded
from tests.support.machines import second_host

# Of one answer, seconds.
TIMEOUT = 30


class Again(bounded.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.host = self.useFixture(second_host.SecondHost())

    def ask(self) -> object:
        """Ask the host; return the connection that is kept after that."""
        with compute_host.Hypervisor(self.host.uri, TIMEOUT) as host:
            self.assertEqual(0, host.running())
        return connections._kept[self.host.uri].handle

    def test_the_next_one_has_it(self) -> None:
        self.assertIs(self.ask(), self.ask())

    def test_one_that_ended_with_libvirtd_is_renewed(self) -> None:
        ended = self.ask()
        self.host.restart()
        self.assertIsNot(ended, self.ask())
