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

"""Disks of which QEMU says that it keeps what it does not."""

import ddt

from cinder_wt_backup.claims import claim as claims
from tests.functional import base


@ddt.ddt
class Unsafe(base.TestCase):

    @ddt.data(("cache='unsafe'", 'disk_cachemodes'),
              ("cache='none' error_policy='ignore'", 'error_policy'))
    @ddt.unpack
    def test_an_unsafe_disk_claims_nothing_and_is_not_changed(
            self, driver: str, reason: str) -> None:
        disk = self.machine.add_disk(driver=driver)
        self.addCleanup(self.machine.detach, disk)
        point = self.mount(disk.name, 'mkfs.ext4 -q')
        before = self.machine.guest.state()
        with self.window(disk, barrier='freeze') as verdict:
            self.assertNotIn('sync', self.machine.shell(
                f'findmnt -no OPTIONS {point}'))
        self.assertEqual(claims.Level.CRASH, verdict[0].level, verdict)
        self.assertIn(reason, verdict[0].reason)
        self.unchanged_by(before)

    def test_a_safe_disk_beside_an_unsafe_one_is_write_through(self) -> None:
        unsafe = self.machine.add_disk(driver="cache='unsafe'")
        self.addCleanup(self.machine.detach, unsafe)
        disk = self.volume()
        self.mount(disk.name, 'mkfs.ext4 -q')
        with self.window(disk) as verdict:
            pass
        self.assertEqual(claims.Level.WRITE_THROUGH, verdict[0].level,
                         verdict)
