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


"""Back ends that make no point in time, or make it in another way.

Of files (Cinder's NFS driver) Nova makes the snapshots.

Nova freezes the guest itself for each; a folder stands in for the share, since
this kernel has no NFS (tests/support/cloud/templates/mount-share).
"""

from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.cloud import database
from tests.support.cloud import drivers
from tests.support.cloud import resources
from tests.support.stage import disk
from tests.system import base


class FilesTest(base.TestCase):

    def rows(self, table: str, column: str, value: str) -> int:
        """Return how many rows of Cinder's have a value."""
        return int(database.query(
            f'SELECT COUNT(*) FROM cinder.{table} '  # nosec B608
            f'WHERE {column} = %s', value)[0][0])

    def test_a_window_holds_although_nova_freezes_as_well(self) -> None:
        self.server_with_volume(resources.FILES)
        load = self.writers()
        before = disk.settings(self.guest)
        cloud.restart_backup(drivers.plugin('posix', {
            'barrier': 'freeze', 'freeze_timeout': '30'}))
        status = load.status()
        backup, metadata = self.back_up()
        self.assertEqual('filesystem', metadata['wt:level'], metadata)
        self.assertEqual(before, disk.settings(self.guest))
        self.assertEqual('thawed',
                         self.guest.command('guest-fsfreeze-status'))
        self.assert_nothing_lost(backup, load, status)

        # It copies the volume before it says that the clone is there.
        cloud.restart_backup(drivers.plugin('posix', {'window_timeout': '1'}))
        _, metadata = self.back_up()
        self.assertEqual('flushed', metadata['wt:level'], metadata)
        self.assertIn('backup_use_temp_snapshot', metadata['wt:reason'])

    def test_a_copy_of_a_live_image_is_of_no_point_in_time(self) -> None:
        # Of RBD, with rbd_max_clone_depth = 0: however quick it is.
        self.server_with_volume(resources.COPIES)
        cloud.restart_backup(drivers.plugin('posix'))
        _, metadata = self.back_up()
        self.assertEqual('crash', metadata['wt:level'], metadata)
        self.assertIn('rbd_max_clone_depth', metadata['wt:reason'])

    def test_a_snapshot_that_can_be_read_takes_no_copy(self) -> None:
        self.server_with_volume(resources.SNAPSHOTS)
        load = self.writers()
        before = disk.settings(self.guest)
        cloud.restart_backup(drivers.plugin('posix', {'window_timeout': '15'}))
        for incremental in (False, True):
            status = load.status()
            backup, metadata = self.back_up(incremental)
            self.assertEqual('write-through', metadata['wt:level'], metadata)
            self.assertEqual(before, disk.settings(self.guest))
        # Rows stay when what they stand for is deleted.
        self.assertEqual((2, 0), (
            self.rows('snapshots', 'volume_id', self.volume),
            self.rows('volumes', 'display_name', f'backup-vol-{self.volume}')))
        self.assert_nothing_lost(backup, load, status)
        console.wait_for(
            'the end of the temporary snapshots', lambda: not list(
                self.storage.snapshots(volume_id=self.volume)), 60)
