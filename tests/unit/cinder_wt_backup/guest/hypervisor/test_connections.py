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

import time

import fixtures

from cinder_wt_backup.guest.hypervisor import connections
from tests.unit import base
from tests.unit.fixtures import libvirt as hosts

URI = hosts.URI % base.HOST


class AgeTest(base.GuestTestCase):

    def wait(self, seconds: float) -> None:
        """Have that time pass."""
        clock = time.monotonic
        self.useFixture(fixtures.MonkeyPatch(
            'time.monotonic', lambda: clock() + seconds))

    def test_an_old_one_is_taken_by_nobody(self) -> None:
        connections.keep(URI, connections.make(URI, 5))
        self.wait(connections.AGE)
        self.assertIsNone(connections.take(URI))
        self.assertEqual([], self.libvirt.connected)

    def test_an_old_one_is_not_kept(self) -> None:
        old = connections.make(URI, 5)
        self.wait(connections.AGE)
        connections.keep(URI, old)
        self.assertEqual([], self.libvirt.connected)

    def test_an_old_one_ends_where_nobody_comes(self) -> None:
        connections.keep(URI, connections.make(URI, 5))
        connections.end_old()
        self.assertEqual([URI], self.libvirt.connected)
        self.wait(connections.AGE)
        connections.end_old()
        self.assertEqual([], self.libvirt.connected)
        self.assertIsNone(connections.take(URI))

    def test_one_whose_host_is_gone_is_taken_by_nobody(self) -> None:
        connections.keep(URI, connections.make(URI, 5))
        self.libvirt.domains.clear()
        self.assertIsNone(connections.take(URI))
        self.assertEqual([], self.libvirt.connected)
