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

"""The point in time that the ceph driver makes of a live RBD image."""

from typing import Any
from unittest import mock

from cinder.backup import manager
import ddt
import fixtures
from os_brick.initiator import linuxrbd

from cinder_wt_backup import exceptions
from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import cinder
from tests.unit.fixtures import disks

CEPH = 'cinder.backup.drivers.ceph'
DRIVER = f'{CEPH}.CephBackupDriver'
LEVEL, REASON = 'wt:level', 'wt:reason'


class NotFound(Exception):
    """Stands in for librbd's own errors."""


class CephTestCase(base.BackupTestCase):
    """Cinder's ceph driver; beyond it, librbd, librados and rbd(8).

    :ivar held: whether the guest was held, by what was done with Ceph
    """

    options: dict[str, Any] = {'wrapped_driver': DRIVER}

    def setUp(self) -> None:
        __import__(CEPH)
        rados, rbd = mock.MagicMock(), mock.MagicMock()
        rbd.ImageNotFound, rbd.ImageBusy, rados.Error = (NotFound,) * 3
        rados.ObjectNotFound = NotFound
        rados.Object.return_value.stat.side_effect = NotFound
        for name, value in (('rados', rados), ('rbd', rbd)):
            self.useFixture(fixtures.MonkeyPatch(f'{CEPH}.{name}', value))
        self.useFixture(fixtures.MockPatch(
            f'{DRIVER}._piped_execute', self._transferred))
        super().setUp()
        self.held: dict[str, bool] = {}
        self.image = mock.NonCallableMagicMock()
        self.image.create_snap.side_effect = self._snapped
        self.stored = disks.ext().data
        self.image.size.return_value = len(self.stored)
        self.image.read.side_effect = self._read
        rbd.Image.return_value = mock.NonCallableMagicMock()
        rbd.RBD.return_value.create.side_effect = self._created
        rbd.RBD.return_value.list.return_value = self.images = []
        self.cinder_volume.device = linuxrbd.RBDVolumeIOWrapper(
            linuxrbd.RBDImageMetadata(self.image, 'volumes', 'cinder', None))
        self.cinder_volume.before = self.note('cast')
        self.cinder_volume.act = self.cinder_volume.give_the_volume

    def note(self, name: str) -> Any:
        def function(*_args: Any, **_kwargs: Any) -> None:
            self.held[name] = self.guardian.holder is not None
        return function

    def _created(self, name: str, **_how: Any) -> None:
        self.images.append(name)
        self.note('base image')()

    def _read(self, offset: int, size: int) -> bytes:
        # The live image is read by nobody but rbd(8).
        self.assertEqual([mock.call(self.image.create_snap.call_args[0][0])],
                         self.image.set_snap.call_args_list[-1:])
        return bytes(self.stored[offset:offset + size])

    def _snapped(self, name: str) -> None:
        self.note('snapshot')()

    def _transferred(self, *_commands: list[str]) -> tuple[int, bytes]:
        self.note('transfer')()
        return 0, b''


class CephTest(CephTestCase):

    def test_the_guest_is_held_for_the_snapshot_alone(self) -> None:
        backup = self.create(self.backup(self.attached()))
        self.assertEqual([], self.cinder_volume.errors)
        self.assertEqual({'cast': False, 'base image': False,
                          'snapshot': True, 'transfer': False}, self.held)
        self.assertEqual('write-through', backup.metadata[LEVEL])
        self.assertEqual(1, self.guardian.commands.count('start'))

    def test_what_the_driver_returns_and_the_user_gave_is_kept(self) -> None:
        backup = self.create(self.backup(
            self.attached(), metadata={'job': '7', LEVEL: 'filesystem'}))
        self.assertEqual('7', backup.metadata['job'])
        self.assertEqual('write-through', backup.metadata[LEVEL])
        self.assertIn('"base"', backup.service_metadata)
        self.assertEqual(DRIVER, backup.service)

    def test_the_snapshot_is_looked_at(self) -> None:
        backup = self.create(self.backup(self.attached()))
        self.assertEqual('clean', backup.metadata['wt:verified'])
        self.assertEqual(mock.call(None),
                         self.image.set_snap.call_args_list[-1])

    def test_a_snapshot_that_contradicts_a_freeze(self) -> None:
        self.stored[:] = disks.ext(dirty=True).data
        volume = self.attached()
        self.domain.agent.blocked = {fake.EXEC, fake.STATUS}
        backup = self.create(self.backup(volume))
        self.assertEqual(('flushed', 'journal'), (
            backup.metadata[LEVEL], backup.metadata['wt:verified']))

    def test_a_guest_that_permits_nothing_is_told(self) -> None:
        volume = self.attached()
        self.domain.channel = ''
        backup = self.create(self.backup(volume))
        self.assertEqual('crash', backup.metadata[LEVEL])
        self.assertIn('no guest agent channel', backup.metadata[REASON])

    def test_a_detached_volume_makes_no_libvirt_call(self) -> None:
        self.cinder_volume.before = lambda: None
        self.domain = mock.MagicMock()
        backup = self.create(self.backup(self.volume()))
        self.assertEqual('available', backup.status)
        self.assertEqual({}, backup.metadata)
        self.assertEqual([], self.libvirt.opened)

    def test_a_snapshot_that_fails_lets_the_guest_go(self) -> None:
        self.image.create_snap.side_effect = NotFound('no image')
        backup = self.create(self.backup(self.attached()))
        self.assertEqual('error', backup.status)
        self.assertIn('no image', backup.fail_reason)
        self.assertIsNone(self.guardian.holder)
        self.assertNotIn('transfer', self.held)

    def test_another_back_end_gives_a_clone_as_usual(self) -> None:
        self.cinder_volume.act = self.cinder_volume.clone_and_call_back
        backup = self.create(self.backup(self.attached(driver='iscsi')))
        self.assertTrue(self.held['cast'])
        self.assertEqual('write-through', backup.metadata[LEVEL])

    def test_an_image_that_the_driver_copies_whole_claims_nothing(self
                                                                  ) -> None:
        # The attachment says rbd, but what came is no RBD image.
        self.cinder_volume.device = device = mock.NonCallableMagicMock(
            spec=['seek', 'read'])
        device.read.return_value = b'data'
        backup = self.create(self.backup(self.attached()))
        self.assertEqual([], self.cinder_volume.errors)
        self.assertEqual('crash', backup.metadata[LEVEL])

    def test_a_live_image_that_was_not_foreseen_is_told_of_once(self) -> None:
        # Where attachments differ it cannot be known before.
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.service.attachments.driver_type',
            lambda volume: None))
        published = self.useFixture(fixtures.MockPatch(
            'cinder_wt_backup.service.reporting.publish')).mock
        backup = self.create(self.backup(self.attached()))
        self.assertEqual([], self.cinder_volume.errors)
        self.assertEqual(1, published.call_count)
        self.assertEqual(published.call_args.args[2].level.value,
                         backup.metadata[LEVEL])
        self.assertEqual(1, self.guardian.commands.count('start'))

    def test_a_restore_opens_no_window(self) -> None:
        volume = self.attached()
        driver = self.manager.service(self.context)
        driver._rbd_diff_transfer('a', 'backups', 'b', 'volumes', 'u', None,
                                  'v', None)
        self.assertEqual({'transfer': False}, self.held)
        self.assertEqual([], self.libvirt.opened)
        self.assertIsNotNone(volume)


@ddt.ddt
class RefusalTest(base.CinderTestCase):

    @ddt.data('_backup_rbd', '_get_new_snap_name', '_rbd_diff_transfer')
    def test_with_a_ceph_driver_that_differs(self, name: str) -> None:
        __import__(CEPH)
        self.useFixture(fixtures.MockPatch(f'{DRIVER}.{name}',
                                           lambda self: None))
        self.useFixture(cinder.Plugin(wrapped_driver=DRIVER))
        error = self.assertRaises(exceptions.ConfigurationError,
                                  manager.BackupManager)
        self.assertIn(f'CephBackupDriver.{name}', str(error))


class RequiredTest(CephTestCase):

    options = {**CephTestCase.options, 'required_level': 'write-through'}

    def test_what_misses_the_level_is_not_transferred(self) -> None:
        volume = self.attached()
        self.guardian.mounts_at_end = []
        backup = self.create(self.backup(volume))
        volume.refresh()
        self.assertEqual('error', backup.status)
        self.assertIn('reached flushed', backup.fail_reason)
        self.assertEqual('in-use', volume.status)
        self.assertNotIn('transfer', self.held)
        # The ceph driver's own cleaning up.
        name = self.image.create_snap.call_args[0][0]
        self.image.remove_snap.assert_called_once_with(name)

    def test_what_reaches_it_is(self) -> None:
        backup = self.create(self.backup(self.attached()))
        self.assertEqual('available', backup.status)
