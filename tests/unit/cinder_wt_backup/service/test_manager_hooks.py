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

"""What the plugin makes of cinder-backup when Cinder imports it."""

from __future__ import annotations

import functools
from typing import Any

from cinder.backup import manager as cinder_manager
from cinder import objects
from cinder import service
from cinder.volume import rpcapi as volume_rpcapi
import ddt
import fixtures
from oslo_config import fixture as config_fixture

from cinder_wt_backup import exceptions
from tests.unit import base
from tests.unit.fixtures import cinder

OLD = 'cinder.backup.drivers.fake.FakeBackupDriver'


@ddt.ddt
class IdentityTest(base.BackupTestCase):

    def test_the_first_worker_is_the_wrapped_driver(self) -> None:
        # The one in whose __init__ we were imported.
        self.assertEqual(cinder.WRAPPED, self.manager.driver_name)
        self.assertEqual('WriteThroughBackupDriver',
                         self.manager.service.__name__)

    def test_every_other_worker_is_too(self) -> None:
        second = self.started(process_number=2)
        self.assertEqual(cinder.WRAPPED, second.driver_name)
        self.assertIs(self.manager.service, second.service)

    def test_the_scheduler_is_told_the_wrapped_driver(self) -> None:
        self.assertEqual(cinder.WRAPPED,
                         self.manager.last_capabilities['driver_name'])

    def test_the_wrapped_driver_is_recorded_before_the_cast(self) -> None:
        seen = []
        self.cinder_volume.before = lambda: seen.extend(
            objects.Backup.get_by_id(self.context, backup.id).service
            for _context, backup, _volume in self.cinder_volume.casts)
        backup = self.create(self.backup(self.attached()))
        self.assertEqual([cinder.WRAPPED], seen)
        self.assertEqual(cinder.WRAPPED,
                         self.cinder_volume.casts[0][1].service)
        self.assertEqual(cinder.WRAPPED, backup.service)

    def test_also_by_a_worker_that_was_not_initialised(self) -> None:
        self.manager = cinder_manager.BackupManager(host='testhost')
        self.manager.is_initialized = True
        # Not even then is it ours to say what its service is.
        self.manager.service = given = functools.partial(self.manager.service)
        self.create(self.backup(self.volume()))
        self.assertEqual(cinder.WRAPPED,
                         self.cinder_volume.casts[0][1].service)
        self.assertIs(given, self.manager.service)

    @ddt.data(cinder.NAME, cinder.WRAPPED, cinder.WRAPPED.rpartition('.')[0],
              None, '')
    def test_a_backup_is_ours(self, recorded: str | None) -> None:
        backup = self.backup(self.volume(), service=recorded,
                             status='deleting')
        self.assertTrue(self.manager._is_our_backup(backup))
        self.manager.delete_backup(self.context, backup)
        self.assertEqual('deleted', backup.status)

    @ddt.data('cinder.backup.drivers.posix',
              'cinder.backup.drivers.posix.PosixBackupDriver')
    def test_another_drivers_backup_is_not(self, recorded: str) -> None:
        backup = self.backup(self.volume(), service=recorded)
        self.assertFalse(self.manager._is_our_backup(backup))
        self.assertFalse(self.manager._is_our_backup(recorded))


@ddt.ddt
class RenamedDriverTest(base.BackupTestCase):

    options = {'wrapped_driver': OLD}

    def setUp(self) -> None:
        self.useFixture(fixtures.MockPatchObject(
            cinder_manager, 'MAPPING', {OLD: cinder.WRAPPED}))
        super().setUp()

    def test_its_new_name_is_recorded(self) -> None:
        self.assertEqual(cinder.WRAPPED, self.manager.driver_name)

    @ddt.data(OLD, 'cinder.backup.drivers.fake', cinder.WRAPPED)
    def test_its_old_records_are_ours(self, recorded: str) -> None:
        self.assertTrue(self.manager._is_our_backup(recorded))


class BeforeInitHostTest(base.CinderTestCase):

    def test_no_thread_and_no_connection_is_made(self) -> None:
        self.useFixture(cinder.Plugin())
        started = []
        self.useFixture(fixtures.MonkeyPatch(
            'threading.Thread.start', lambda thread: started.append(thread)))
        workers = [cinder_manager.BackupManager(process_number=number)
                   for number in (1, 2)]
        self.assertEqual([], started)
        self.assertEqual([], self.libvirt.opened)
        self.assertEqual(2, len(workers))

    def test_nothing_left_open_makes_no_connection(self) -> None:
        self.useFixture(cinder.Plugin(libvirt_hosts=['compute1']))
        self.attached()
        cinder_manager.BackupManager(host='testhost').init_host()
        self.assertEqual([], self.libvirt.opened)


@ddt.ddt
class RefusalTest(base.CinderTestCase):
    """A refusal is raised at import, where it ends the service."""

    def refused(self, **options: Any) -> str:
        self.useFixture(cinder.Plugin(**options))
        before = dict(vars(cinder_manager.BackupManager))
        error = self.assertRaises(exceptions.ConfigurationError,
                                  cinder_manager.BackupManager)
        self.assertEqual(before, dict(vars(cinder_manager.BackupManager)))
        return str(error)

    @ddt.data(None, '')
    def test_without_a_wrapped_driver(self, path: str | None) -> None:
        self.assertIn('set it to the stock driver',
                      self.refused(wrapped_driver=path))

    def test_with_ourselves_as_the_wrapped_driver(self) -> None:
        self.assertIn('set it to the stock driver',
                      self.refused(wrapped_driver=cinder.NAME))

    @ddt.data('cinder.backup.drivers.none.Driver', 'posix',
              'cinder.backup.drivers.posix.Driver',
              'cinder_wt_backup.driver')
    def test_with_one_that_cannot_be_imported(self, path: str) -> None:
        self.assertIn(path, self.refused(wrapped_driver=path))

    @ddt.data(({'lease': 70, 'window_timeout': 60}, 'lease = 70'),
              ({'methods': ['pray']}, "'pray' is not installed"),
              ({'libvirt_hosts': ['a/b']}, "'a/b'"),
              ({'libvirt_uri': '{0}'}, 'libvirt_uri'))
    @ddt.unpack
    def test_with_options_that_cannot_work(self, options: dict[str, Any],
                                           words: str) -> None:
        self.assertIn(words, self.refused(**options))

    def test_with_a_value_out_of_range(self) -> None:
        self.useFixture(cinder.Plugin())
        config = self.useFixture(config_fixture.Config())
        config.load_raw_values(group='write_through', lease='0')
        error = self.assertRaises(ValueError, cinder_manager.BackupManager)
        self.assertIn('lease', str(error))

    def test_it_ends_the_service(self) -> None:
        self.useFixture(cinder.Plugin(wrapped_driver=None))
        self.assertRaises(
            exceptions.ConfigurationError, service.Service.create,
            binary='cinder-backup', coordination=True, process_number=1,
            service_name='backup')

    @ddt.data(
        ('_start_backup', lambda self, context, backup: None),
        ('_start_backup', lambda self, context, backup, volume, more: None),
        ('_start_backup', lambda self, context, volume, backup: None),
        ('continue_backup', lambda self, context, backup: None),
        ('_is_our_backup', lambda self, record: None),
        ('init_host', lambda self: None), ('init_host', None))
    @ddt.unpack
    def test_with_a_cinder_that_differs(self, name: str, method: Any
                                        ) -> None:
        self.useFixture(fixtures.MockPatchObject(
            cinder_manager.BackupManager, name, method))
        self.assertIn(f'BackupManager.{name}', self.refused())

    def test_with_a_cinder_that_lacks_several_all_are_named(self) -> None:
        for owner, name in ((cinder_manager.BackupManager, '_start_backup'),
                            (volume_rpcapi.VolumeAPI, 'get_backup_device')):
            self.useFixture(fixtures.MockPatchObject(owner, name, None))
        self.useFixture(fixtures.MockPatchObject(
            objects.Backup, 'fields', {
                name: field for name, field in objects.Backup.fields.items()
                if name != 'temp_volume_id'}))
        message = self.refused()
        for name in ('BackupManager._start_backup',
                     'VolumeAPI.get_backup_device', 'Backup.temp_volume_id'):
            self.assertIn(name, message)

    def test_a_cinder_with_another_driver_is_left_alone(self) -> None:
        before = dict(vars(cinder_manager.BackupManager))
        __import__(cinder.MODULE)
        self.assertEqual(before, dict(vars(cinder_manager.BackupManager)))
