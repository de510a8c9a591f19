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


"""A volume that Cinder encrypts: LUKS below the guest, a key from outside."""

from tests.support.cloud import cloud
from tests.support.cloud import drivers
from tests.support.cloud import resources
from tests.system import base


class Encrypted(base.TestCase):

    def test_an_encrypted_volume_is_write_through_and_restored(self) -> None:
        self.server_with_volume(resources.ENCRYPTED)
        load = self.writers()
        cloud.restart_backup(drivers.plugin('posix'))
        status = load.status()
        backup, metadata = self.back_up()
        self.assertEqual('write-through', metadata['wt:level'], metadata)
        self.assertEqual('ext4=1', metadata['wt:filesystems'])
        # What Cinder reads, and what the look sees, is encrypted.
        self.assertEqual('not-visible', metadata['wt:verified'])
        # Stock Cinder needs a volume of that type to be there.
        self.assert_nothing_lost(backup, load, status,
                                 self.stage.volume(1, resources.ENCRYPTED))
