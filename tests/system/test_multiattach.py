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

"""A volume that several instances have: all of them count."""

from tests.support.cloud import cloud
from tests.support.cloud import drivers
from tests.support.cloud import resources
from tests.support.machines import guests
from tests.support.stage import disk
from tests.support.stage import stage
from tests.system import base


class Multiattach(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.volume = self.stage.volume(1, resources.MULTIATTACH)
        self.guest, device = self.server(self.stage)
        self.other = stage.Stage(self.connection, keep=False)
        self.addCleanup(self.other.close)
        self.other_guest, _device = self.server(self.other)
        # No cluster file system: one mounts it, the other only has it.
        disk.make_filesystem(self.guest, device, 'ext4')
        mounted = disk.mounted(self.guest, device)
        mounted.__enter__()
        self.addCleanup(mounted.__exit__, None, None, None)

    def server(self, made: stage.Stage) -> tuple[guests.Guest, str]:
        """Boot a server that has the volume; return it and its device."""
        guest = made.boot(stage.MEMORY_MIB)
        device = made.attach(self.volume)
        guest.run('sh', '-c', f'until test -e {device}; do sleep 0.2; done')
        return guest, device

    def test_the_worst_of_several_instances_is_the_level(self) -> None:
        cloud.restart_backup(drivers.plugin('posix', {'agent_timeout': '5'}))
        before = self.guest.state(), self.other_guest.state()
        _, metadata = self.back_up()
        self.assertEqual('write-through', metadata['wt:level'], metadata)
        self.assertEqual('ext4=1', metadata['wt:filesystems'])

        self.other_guest.domain.suspend()
        try:
            _, metadata = self.back_up()
        finally:
            self.other_guest.domain.resume()
        self.assertEqual('crash', metadata['wt:level'], metadata)
        self.assertIn(self.other_guest.domain.UUIDString(),
                      metadata['wt:reason'])
        self.assertEqual(before,
                         (self.guest.state(), self.other_guest.state()))
