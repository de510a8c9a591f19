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


"""Backups at the same time: of one instance's volumes, by several hosts."""

from concurrent import futures

from tests.support.cloud import cloud
from tests.support.cloud import database
from tests.support.cloud import drivers
from tests.support.cloud import layout
from tests.support.stage import disk
from tests.system import base

OTHER = 'vm2'


class SeveralTest(base.TestCase):
    """Two cinder-backup hosts that share no lock; the guest arbitrates."""

    def setUp(self) -> None:
        super().setUp()
        self.server_with_volume()
        self.second = self.stage.volume(1)
        device = self.stage.attach(self.second)
        disk.make_filesystem(self.guest, device, 'xfs')
        mounted = disk.mounted(self.guest, device, '/mnt/second')
        mounted.__enter__()
        self.stage.callback(self.stage.detach, self.second)
        self.stage.callback(mounted.__exit__, None, None, None)

    def request(self, volume: str, zone: str | None) -> str:
        """Ask for a backup by the host of a zone; return its id."""
        backup = self.storage.create_backup(
            volume_id=volume, force=True, availability_zone=zone).id
        self.stage.remove_later('backup', backup)
        return str(backup)

    def host_of(self, backup: str) -> str:
        return str(database.query('SELECT host FROM cinder.backups '
                                  'WHERE id = %s', backup)[0][0])

    def test_volumes_of_one_instance_by_two_hosts_do_not_collide(self) -> None:
        locks = layout.DATA / 'cinder' / OTHER
        locks.mkdir(exist_ok=True)
        cloud.restart_backup(drivers.plugin('posix'))
        options = drivers.plugin('posix')
        options['coordination'] = {'backend_url': f'file://{locks}'}
        options['DEFAULT']['storage_availability_zone'] = OTHER
        cloud.restart_backup(options, host=OTHER)
        # After the backups that it has, which are removed by it.
        self.stage.callback(cloud.remove_backup, OTHER)
        before = self.guest.state()
        with futures.ThreadPoolExecutor() as pool:
            backups = list(pool.map(self.request, (self.volume, self.second),
                                    (None, OTHER)))
        self.assertEqual(['write-through'] * 2, [
            self.stage.await_backup(backup)['wt:level'] for backup in backups])
        self.assertEqual(before, self.guest.state())
        self.assertEqual([layout.HOST, OTHER],
                         [self.host_of(backup) for backup in backups])
