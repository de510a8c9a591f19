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

"""The unchanged command in a real cloud, with the plugin on and off."""

from tests.support.cloud import backup as backups
from tests.support.cloud import ceph
from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.cloud import database
from tests.support.cloud import drivers
from tests.support.machines import guests
from tests.support.stage import disk
from tests.system import base


# Seconds for which an agent is silent at most.
SILENT = 120


class Posix(base.TestCase):
    """A temporary clone: the point in time that cinder-volume makes."""

    def test_a_chain_goes_on_with_the_plugin_on_and_off(self) -> None:
        self.server_with_volume()
        load = self.writers()
        cloud.restart_backup(drivers.stock('posix'))
        full, metadata = self.back_up()
        self.assertEqual({}, metadata)

        # Native threads and several processes, as new installations have.
        cloud.restart_backup({backups.NATIVE_THREADS: {}} | drivers.plugin(
            'posix', backup_workers='2'))
        before = disk.settings(self.guest)
        status = load.status()
        # As a user does it.
        second, metadata = self.await_backup(base.openstack(
            'volume', 'backup', 'create', '--force', '--incremental',
            '--property', 'owner=me', '--property', 'wt:level=filesystem',
            self.volume)['id'])
        self.assertEqual(before, disk.settings(self.guest))
        self.assertEqual(
            {'owner': 'me', 'wt:level': 'write-through',
             'wt:method': 'write_through', 'wt:filesystems': 'ext4=1',
             'wt:verified': 'journal'},
            {key: value for key, value in metadata.items()
             if key != 'wt:window_ms'})
        self.assertEqual(drivers.DRIVERS['posix'],
                         database.query('SELECT service FROM cinder.backups '
                                        'WHERE id = %s', second)[0][0])
        self.assert_nothing_lost(second, load, status)
        record = base.openstack('volume', 'backup', 'record', 'export',
                                second)

        cloud.restart_backup(drivers.stock('posix'))
        third, metadata = self.back_up(incremental=True)
        self.assertEqual({}, metadata)
        # Another cloud has the store but not this row.
        self.storage.delete_backup(third, ignore_missing=False)
        self.storage.wait_for_delete(self.storage.get_backup(third))
        database.query('DELETE FROM cinder.backup_metadata '
                       'WHERE backup_id = %s', second)
        database.query('DELETE FROM cinder.backups WHERE id = %s', second)
        # openstacksdk 4.22 posts an import to the path of the export.
        self.storage.post('/backups/import_record', json={
            'backup-record': {'backup_service': record['backup_service'],
                              'backup_url': record['backup_url']}})
        self.stage.await_backup(second)
        self.assert_nothing_lost(second, load, status)
        self.assertEqual('available', self.storage.get_backup(full).status)


class Ceph(base.TestCase):
    """A live RBD image: the point in time that the ceph driver makes."""

    def test_full_and_incremental_lose_nothing(self) -> None:
        self.server_with_volume()
        load = self.writers()
        cloud.restart_backup(drivers.plugin('ceph', backup_workers='2'))
        before = disk.settings(self.guest)
        for incremental in (False, True):
            status = load.status()
            backup, metadata = self.back_up(incremental)
            self.assertEqual('write-through', metadata.get('wt:level'),
                             metadata)
            self.assertEqual('journal', metadata['wt:verified'])
            self.assertEqual(before, disk.settings(self.guest))
        self.assertTrue(self.storage.get_backup(backup).is_incremental)
        self.assert_nothing_lost(backup, load, status)
        self.assert_full_instead()

    def assert_full_instead(self) -> None:
        """What the driver makes a full one of is in a window as well."""
        cloud.restart_backup(
            drivers.plugin('ceph', backup_ceph_max_snapshots='1'))
        ceph.purge_snapshots(f'volumes/volume-{self.volume}')
        backup, metadata = self.back_up(incremental=True)
        self.assertFalse(self.storage.get_backup(backup).is_incremental)
        self.assertEqual('write-through', metadata.get('wt:level'), metadata)


class FallBack(base.TestCase):
    """The backup is made at the level that is true, with the reason."""

    def test_a_silent_agent_is_crash_consistent_with_the_reason(self) -> None:
        self.server_with_volume()
        # Several processes: the callback may land in another one.
        cloud.restart_backup(drivers.plugin('posix', {'agent_timeout': '3'},
                                            backup_workers='2'))
        agent = self.guest.run('pidof', 'qemu-ga').text
        self.guest.spawn('sh', '-c', f'kill -STOP {agent}; '
                         f'{guests.until_key(SILENT)}; kill -CONT {agent}')
        self.addCleanup(self.guest.wait, SILENT)
        self.addCleanup(self.guest.press_key)
        _, metadata = self.back_up()
        self.assertEqual('crash', metadata.get('wt:level'), metadata)
        self.assertIn('qemu-guest-agent', metadata['wt:reason'])

    def test_a_detached_volume_is_backed_up_without_keys(self) -> None:
        self.volume = self.stage.volume(1)
        cloud.restart_backup(drivers.plugin('posix', {
            'required_level': 'filesystem',
            'libvirt_uri': 'qemu+tcp://{host}:1/nowhere'}))
        backup = self.storage.create_backup(volume_id=self.volume).id
        self.stage.remove_later('backup', backup)
        self.assertEqual({}, self.stage.await_backup(backup))

    def test_missing_a_required_level_fails_and_cleans_up(self) -> None:
        self.server_with_volume()
        options = {'required_level': 'filesystem'}
        cloud.restart_backup(drivers.plugin('posix', options))
        backup = self.storage.create_backup(volume_id=self.volume,
                                            force=True).id
        self.stage.remove_later('backup', backup)
        failed = self.storage.wait_for_status(
            self.storage.get_backup(backup), 'error', wait=300,
            failures=['available'])
        self.assertIn('filesystem is required', failed.fail_reason)
        self.stage.await_volume(self.volume, 'in-use')
        # Cinder deletes it once the backup has failed.
        console.wait_for('the end of the temporary volume', lambda: not [
            volume.status for volume in self.storage.volumes()
            if volume.name == f'backup-vol-{self.volume}'
            and volume.status != 'deleting'], 30)

        cloud.restart_backup(drivers.plugin('posix', {
            **options, 'barrier': 'freeze', 'freeze_timeout': '10'}))
        _, metadata = self.back_up()
        self.assertEqual(('filesystem', 'clean'), (
            metadata['wt:level'], metadata['wt:verified']), metadata)
