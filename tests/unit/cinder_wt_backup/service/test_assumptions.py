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

"""What the plugin takes for granted of Cinder, one test for each.

Against the Cinder that is installed: a release that differs is named by the
test that fails. What the other tests of the hooks show anyway is not repeated.
"""

from typing import Any
from unittest import mock

from cinder.backup import manager as cinder_manager
from cinder.backup import rpcapi as backup_rpcapi
from cinder import objects
from cinder.objects import fields
from cinder import service
from cinder.tests import fake_driver
from cinder.volume import configuration
from cinder.volume import driver as volume_driver
from cinder.volume.drivers import rbd
from cinder.volume import manager as volume_manager
from cinder.volume import rpcapi as volume_rpcapi
import ddt
import fixtures
from oslo_utils import importutils

from cinder_wt_backup import exceptions
from cinder_wt_backup.service import assumptions
from cinder_wt_backup.service import manager_hooks
from cinder_wt_backup.service import plan
from tests.unit import base
from tests.unit.fixtures import cinder

CEPH = 'cinder.backup.drivers.ceph.CephBackupDriver'
POSIX = 'cinder.backup.drivers.posix.PosixBackupDriver'


class Lacking:
    """A module or class in which something is missing, or different."""

    def __init__(self, owner: Any, name: str, instead: Any = None) -> None:
        self._owner, self._name, self._instead = owner, name, instead

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._owner, name)
        if self._instead is None:
            raise AttributeError(name)
        return self._instead


@ddt.ddt
class TableTest(base.CinderTestCase):
    """What is checked when the service starts, and refused."""

    def refused(self) -> str:
        self.useFixture(cinder.Plugin())
        return str(self.assertRaises(exceptions.ConfigurationError,
                                     cinder_manager.BackupManager))

    def lack(self, path: str, name: str, instead: Any = None) -> None:
        find = assumptions._find

        def found(asked: str) -> Any:
            owner = find(asked)
            return Lacking(owner, name, instead) if asked == path else owner
        self.useFixture(fixtures.MockPatchObject(assumptions, '_find', found))

    def test_nothing_is_missing_here(self) -> None:
        assumptions.check(importutils.import_class(CEPH), is_ceph=True)

    @ddt.idata(assumptions.TABLE)
    def test_what_is_missing_is_refused(self, used: assumptions.Used) -> None:
        self.lack(used.owner, used.name)
        self.assertIn(str(used), self.refused())

    @ddt.idata(used for used in assumptions.TABLE if used.parameters)
    def test_what_is_called_otherwise_is_refused(
            self, used: assumptions.Used) -> None:
        self.lack(used.owner, used.name, lambda other: None)
        self.assertIn(str(used), self.refused())

    @ddt.idata((owner, name) for owner, names in assumptions.FIELDS.items()
               for name in names)
    @ddt.unpack
    def test_a_field_that_is_missing_is_refused(self, owner: str, name: str
                                                ) -> None:
        there = getattr(objects, owner)
        self.useFixture(fixtures.MockPatchObject(there, 'fields', {
            other: field for other, field in there.fields.items()
            if other != name}))
        self.assertIn(f'{owner}.{name}', '; '.join(
            assumptions._missing_fields()))

    @ddt.data((assumptions.DATABASES, 'main_context_manager'),
              (assumptions.MODELS, 'VolumeAdminMetadata'))
    @ddt.unpack
    def test_a_database_that_differs_is_refused(self, places: tuple[str, ...],
                                                name: str) -> None:
        for place in places:
            self.lack(place, name)
        self.assertIn(name, self.refused())

    @ddt.idata(name for name, _parameters in assumptions.CEPH)
    def test_a_ceph_driver_that_differs_is_refused(self, name: str) -> None:
        driver = importutils.import_class(CEPH)
        self.useFixture(fixtures.MockPatchObject(driver, name, None))
        error = self.assertRaises(exceptions.ConfigurationError,
                                  assumptions.check, driver, is_ceph=True)
        self.assertIn(f'CephBackupDriver.{name}(', str(error))


class PointInTimeTest(base.CinderTestCase):
    """cinder-volume's part, of which the other tests have an imitation."""

    def setUp(self) -> None:
        super().setUp()
        self.subject = self.backup(self.attached(), service=POSIX)
        self.seen: list[bool] = []
        self.driver = fake_driver.FakeLoggingVolumeDriver(
            configuration=configuration.Configuration([]))

    def given(self, snapshot: bool) -> Any:
        """Return what is backed up of a volume in use."""
        def note(*_objects: Any) -> None:
            self.seen.append(manager_hooks._finished(
                self.context, self.subject.id))
        for name in ('create_cloned_volume', 'create_snapshot'):
            self.useFixture(fixtures.MockPatchObject(
                self.driver, name, side_effect=note, return_value=None))
        self.useFixture(fixtures.MockPatchObject(
            self.driver, 'backup_use_temp_snapshot', return_value=snapshot))
        given, is_snapshot = volume_driver.BaseVD.get_backup_device(
            self.driver, self.context, self.subject)
        self.assertEqual(snapshot, is_snapshot)
        return given

    def test_a_clone_is_on_record_once_it_is_finished(self) -> None:
        given = self.given(snapshot=False)
        self.assertEqual([False], self.seen)
        self.assertTrue(manager_hooks._finished(self.context, self.subject.id))
        self.assertEqual(given.id, self.subject.temp_volume_id)

    def test_a_snapshot_is_on_record_once_it_is_finished(self) -> None:
        given = self.given(snapshot=True)
        self.assertEqual([False], self.seen)
        self.assertTrue(manager_hooks._finished(self.context, self.subject.id))
        self.assertEqual(given.id, self.subject.temp_snapshot_id)

    def test_rbd_gives_the_ceph_driver_the_live_volume(self) -> None:
        self.subject.service = CEPH
        self.assertIn(plan.CEPH, CEPH)
        given, is_snapshot = rbd.RBDDriver.get_backup_device(
            mock.Mock(), self.context, self.subject)
        self.assertEqual((self.subject.volume_id, False),
                         (given.id, is_snapshot))

    def test_it_calls_back_when_there_is_something_to_back_up(self) -> None:
        called = self.useFixture(fixtures.MockPatchObject(
            backup_rpcapi.BackupAPI, 'continue_backup')).mock
        manager = mock.Mock()
        manager.driver.get_backup_device.return_value = (
            objects.Volume.get_by_id(self.context, self.subject.volume_id),
            False)
        manager.driver.secure_file_operations_enabled.return_value = True
        volume_manager.VolumeManager.get_backup_device(
            manager, self.context, self.subject, want_objects=True,
            async_call=True)
        called.assert_called_once_with(self.context, self.subject, mock.ANY)

    def test_it_is_not_waited_for(self) -> None:
        api = mock.Mock()
        volume_rpcapi.VolumeAPI.get_backup_device(
            api, self.context, self.subject, mock.Mock())
        client = api._get_cctxt.return_value
        client.cast.assert_called_once_with(
            self.context, 'get_backup_device', backup=self.subject,
            want_objects=True, async_call=True)
        client.call.assert_not_called()


class ServiceTest(base.BackupTestCase):
    """How cinder-backup's service calls its manager."""

    def test_each_worker_is_initialised_before_it_serves(self) -> None:
        steps = mock.Mock()
        for name, step in (
                ('cinder.backup.manager.BackupManager.init_host', 'init_host'),
                ('cinder.rpc.get_server', 'serve')):
            self.useFixture(fixtures.MockPatch(name, getattr(steps, step)))
        made = service.Service.create(binary='cinder-backup', host='testhost',
                                      service_name='backup')
        made.start()
        self.addCleanup(made.stop)
        names = [call[0] for call in steps.mock_calls]
        self.assertEqual(['init_host', 'serve'], names[:2])

    def test_a_request_ends_creating(self) -> None:
        # What _finished takes for "somebody waits for it".
        self.cinder_volume.act = self.cinder_volume.fail
        backup = self.create(self.backup(self.volume()))
        self.assertEqual(fields.BackupStatus.CREATING, backup.status)
