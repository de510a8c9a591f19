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

"""Backups change hands: with the plugin, without it, and back."""

from typing import Any

from cinder.backup import manager as cinder_manager
from cinder import exception
import fixtures

from tests.unit import base
from tests.unit.fixtures import cinder

POSIX = 'cinder.backup.drivers.posix.PosixBackupDriver'


class InterchangeTest(base.CinderTestCase):
    """The posix driver in a folder of the test, wrapped and plain."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir())
        __import__(POSIX.rpartition('.')[0])
        self.flags(backup_posix_path=self.folder.join('backups'),
                   backup_compression_algorithm='none',
                   backup_sha_block_size_bytes=1024,
                   backup_file_size=32768, backup_driver=POSIX)
        self.cinder_volume = self.useFixture(cinder.CinderVolume())
        self.data = b'first' + bytes(65536)

    def manager(self) -> cinder_manager.BackupManager:
        made = cinder_manager.BackupManager(host='testhost')
        made.init_host()
        made.is_initialized = True
        self.cinder_volume.manager = made
        return made

    def plugin(self) -> Any:
        return cinder.Plugin(**{**base.SHORT, 'wrapped_driver': POSIX,
                                'libvirt_hosts': [base.HOST]})

    def back_up(self, volume: Any, data: bytes, **values: Any) -> Any:
        with open(self.cinder_volume.device, 'wb') as device:
            device.write(data)
        volume.status, volume.previous_status = 'backing-up', 'in-use'
        volume.save()
        manager = self.manager()
        backup = self.backup(volume, **values)
        manager.create_backup(self.context, backup)
        self.cinder_volume.join()
        self.assertEqual([], self.cinder_volume.errors)
        backup.refresh()
        self.assertEqual(('available', POSIX),
                         (backup.status, backup.service))
        return backup

    def restored(self, backup: Any) -> bytes:
        manager = self.manager()
        volume = self.volume(status='restoring-backup')
        with open(self.cinder_volume.device, 'wb'):
            pass
        backup.status = 'restoring'
        backup.save()
        cinder.restore(manager, self.context, backup, volume)
        volume.refresh()
        self.assertEqual('available', volume.status)
        with open(self.cinder_volume.device, 'rb') as device:
            return device.read()

    def test_made_with_the_plugin_restored_without(self) -> None:
        with self.plugin():
            backup = self.back_up(self.attached(), self.data)
        self.assertEqual('write-through', backup.metadata['wt:level'])
        self.assertEqual(self.data, self.restored(backup))

    def test_made_without_the_plugin_restored_with(self) -> None:
        backup = self.back_up(self.attached(), self.data)
        self.assertEqual({}, backup.metadata)
        with self.plugin():
            self.assertEqual(self.data, self.restored(backup))

    def test_made_and_deleted_with_the_plugin(self) -> None:
        with self.plugin():
            backup = self.back_up(self.attached(), self.data)
            manager = self.manager()
            backup.status = 'deleting'
            backup.save()
            manager.delete_backup(self.context, backup)
        self.assertEqual('deleted', backup.status)

    def test_incrementals_go_on_across_the_switch_both_ways(self) -> None:
        volume = self.attached()
        second, third = b'second' + self.data[6:], b'third!' + self.data[6:]
        full = self.back_up(volume, self.data)
        with self.plugin():
            more = self.back_up(volume, second, parent_id=full.id)
            self.assertEqual('write-through', more.metadata['wt:level'])
        last = self.back_up(volume, third, parent_id=more.id)
        self.assertEqual(second, self.restored(more))
        with self.plugin():
            self.assertEqual(third, self.restored(last))

    def test_exported_with_the_plugin_imported_without(self) -> None:
        with self.plugin():
            backup = self.back_up(self.attached(), self.data)
            record = self.manager().export_record(self.context, backup)
        self.assertEqual(POSIX, record['backup_service'])
        self.imported(backup, record)
        with self.plugin():
            self.imported(backup, record)
        self.assertEqual(self.data, self.restored(backup))

    def test_an_import_that_the_wrapped_driver_refuses_fails(self) -> None:
        with self.plugin():
            backup = self.back_up(self.attached(), self.data)
            manager = self.manager()
            record = manager.export_record(self.context, backup)
            backup.status = 'creating'
            backup.save()
            self.useFixture(fixtures.MockPatch(
                f'{POSIX}.import_record', side_effect=OSError('unreadable')))
            error = self.assertRaises(
                exception.InvalidBackup, manager.import_record, self.context,
                backup, record['backup_service'], record['backup_url'], [])
        backup.refresh()
        self.assertIn('unreadable', str(error))
        self.assertEqual('error', backup.status)

    def imported(self, backup: Any, record: dict[str, Any]) -> None:
        manager = self.manager()
        backup.status, backup.service = 'creating', None
        backup.save()
        manager.import_record(self.context, backup, record['backup_service'],
                              record['backup_url'], [])
        backup.refresh()
        self.assertEqual(('available', POSIX),
                         (backup.status, backup.service))
        self.assertEqual('write-through', backup.metadata['wt:level'])
