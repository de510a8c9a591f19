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

    def request(self, volume: str) -> str:
        """Ask for a backup; return its id."""
        backup = self.storage.create_backup(volume_id=volume, force=True).id
        self.stage.remove_later('backup', backup)
        return str(backup)

    def test_volumes_of_one_instance_by_two_hosts_do_not_collide(self) -> None:
        locks = layout.DATA / 'cinder' / OTHER
        locks.mkdir(exist_ok=True)
        cloud.restart_backup(drivers.plugin('posix'))
        options = drivers.plugin('posix')
        options['coordination'] = {'backend_url': f'file://{locks}'}
        cloud.restart_backup(options, host=OTHER)
        self.addCleanup(cloud.remove_backup, OTHER)
        before = self.guest.state()
        hosts: set[object] = set()
        # The scheduler throws dice for each backup's host.
        for _round in range(12):
            with futures.ThreadPoolExecutor() as pool:
                backups = list(pool.map(self.request,
                                        (self.volume, self.second)))
            self.assertEqual(
                ['write-through'] * 2,
                [self.stage.await_backup(backup)['wt:level']
                 for backup in backups])
            self.assertEqual(before, self.guest.state())
            hosts = {database.query('SELECT host FROM cinder.backups '
                                    'WHERE id = %s', backup)[0][0]
                     for backup in backups}
            if len(hosts) == 2:
                break
        self.assertEqual({layout.HOST, OTHER}, hosts)
