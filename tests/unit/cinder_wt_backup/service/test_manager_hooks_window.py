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

"""The point in time that cinder-volume makes: the window around its cast."""

import threading
import time
from typing import Any
from unittest import mock

from cinder import exception
from cinder import objects
from cinder.tests.unit import fake_constants
from cinder.tests.unit import utils
import ddt
import fixtures
from oslo_db import exception as db_exception

from cinder_wt_backup import exceptions
from cinder_wt_backup.service import owners
from cinder_wt_backup.service import store
from tests.unit import base
from tests.unit.fixtures import cinder

LEVEL, REASON = 'wt:level', 'wt:reason'


class CastTest(base.BackupTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.held: dict[str, bool] = {}

    def note(self, name: str) -> Any:
        """Return a function that notes whether the guest is held."""
        def function(*_args: Any, **_kwargs: Any) -> str:
            self.held[name] = self.guardian.holder is not None
            return fake_constants.ENCRYPTION_KEY2_ID
        return function

    def test_the_snapshot_is_made_while_the_guest_is_held(self) -> None:
        self.cinder_volume.before = self.note('snapshot')
        backup = self.create(self.backup(self.attached()))
        self.assertEqual({'snapshot': True}, self.held)
        self.assertEqual('write-through', backup.metadata[LEVEL])
        self.assertNotIn(REASON, backup.metadata)

    def test_an_owner_who_permits_no_programs_has_it_frozen(self) -> None:
        frozen: list[str] = []
        volume = self.attached(metadata={'wt:policy': 'no-exec'})
        self.cinder_volume.before = lambda: frozen.extend(
            self.domain.agent.frozen)
        backup = self.create(self.backup(volume))
        self.assertEqual(['/mnt'], frozen)
        self.assertEqual('freeze', backup.metadata['wt:method'])
        self.assertEqual([], self.guardian.arguments)

    def test_the_guest_is_let_go_before_the_device_is_attached(self) -> None:
        self.cinder_volume.attached = self.note('attach')
        self.create(self.backup(self.attached()))
        self.assertEqual({'attach': False}, self.held)

    def test_the_key_is_cloned_before_the_guest_is_held(self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'cinder.volume.volume_utils.clone_encryption_key',
            self.note('key')))
        self.cinder_volume.before = self.note('snapshot')
        backup = self.create(self.backup(self.attached(
            encryption_key_id=fake_constants.ENCRYPTION_KEY_ID)))
        self.assertEqual({'key': False, 'snapshot': True}, self.held)
        self.assertEqual(fake_constants.ENCRYPTION_KEY2_ID,
                         backup.encryption_key_id)

    def test_the_database_tells_when_no_callback_comes(self) -> None:
        self.cinder_volume.act = self.cinder_volume.clone_only
        backup = self.backup(volume := self.attached())
        self.create(backup)
        self.assertIsNone(self.guardian.holder)
        backup.refresh()
        self.cinder_volume.call_back(
            self.context, backup,
            objects.Volume.get_by_id(self.context, backup.temp_volume_id))
        backup.refresh()
        self.assertEqual('write-through', backup.metadata[LEVEL])
        self.assertIsNone(store.window_of(self.context, volume.id))

    def test_a_temporary_volume_is_not_there_while_it_is_made(self) -> None:
        seen: list[bool] = []

        def clone(context: Any, backup: Any, volume: Any) -> None:
            copy = utils.create_volume(context, status='creating')
            backup.temp_volume_id = copy.id
            backup.save()
            for status in ('creating', 'error', 'available'):
                copy.status = status
                copy.save()
                end = time.monotonic() + (10 if status == 'available' else 0.2)
                while self.guardian.holder and time.monotonic() < end:
                    time.sleep(0.01)
                seen.append(self.guardian.holder is None)
        self.cinder_volume.act = clone
        self.create(self.backup(self.attached()))
        self.assertEqual([False, False, True], seen)

    def test_the_callback_tells_when_the_database_does_not(self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.window.volume.POLL',
            base.SHORT['window_timeout']))
        began = time.monotonic()
        backup = self.create(self.backup(self.attached()))
        self.assertLess(time.monotonic() - began,
                        base.SHORT['window_timeout'])
        self.assertEqual('write-through', backup.metadata[LEVEL])

    def test_a_live_volume_instead_of_a_snapshot_is_flushed(self) -> None:
        self.cinder_volume.act = self.cinder_volume.give_the_volume
        backup = self.create(self.backup(self.attached()))
        self.assertEqual('flushed', backup.metadata[LEVEL])
        self.assertIn('live volume', backup.metadata[REASON])

    def test_a_previous_status_that_was_spoilt_hides_no_instance(self
                                                                 ) -> None:
        # Cinder then takes the volume for detached, and gives it as it is.
        self.cinder_volume.act = self.cinder_volume.give_the_volume
        backup = self.create(self.backup(self.attached(
            previous_status='backing-up')))
        self.assertEqual('flushed', backup.metadata[LEVEL])

    def test_a_window_takes_and_waits_for_no_worker(self) -> None:
        # Of backup_max_operations; before 2026.2 requests count, since then
        # callbacks do.
        workers = threading.BoundedSemaphore(1)
        self.manager = self.cinder_volume.manager = self.started(
            semaphore=workers)
        # Only the callback can tell.
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.window.volume.POLL',
            base.SHORT['window_timeout']))
        with workers:
            began = time.monotonic()
            backup = self.backup(self.attached())
            self.manager.create_backup(self.context, backup)
            self.assertLess(time.monotonic() - began,
                            base.SHORT['window_timeout'])
            self.assertIsNone(self.guardian.holder)
            backup.refresh()
            if not cinder.REQUEST_TAKES_A_WORKER:
                self.assertEqual('creating', backup.status)
        self.cinder_volume.join()
        backup.refresh()
        self.assertEqual('write-through', backup.metadata[LEVEL])


class NothingToDoTest(base.BackupTestCase):

    def stock(self, backup: objects.Backup) -> None:
        backup = self.create(backup)
        self.assertEqual('available', backup.status)
        self.assertEqual({'job': '7'}, backup.metadata)
        self.assertEqual([], self.libvirt.opened)

    def test_for_a_detached_volume(self) -> None:
        self.stock(self.backup(self.volume(), metadata={'job': '7'}))

    def test_for_a_backup_of_a_snapshot(self) -> None:
        volume = self.attached()
        snapshot = objects.Snapshot(
            self.context, volume_id=volume.id, status='backing-up',
            user_id=volume.user_id, project_id=volume.project_id,
            volume_size=1, volume_type_id=volume.volume_type_id)
        snapshot.create()
        self.stock(self.backup(volume, snapshot_id=snapshot.id,
                               metadata={'job': '7'}))

    def test_for_a_volume_that_opted_out(self) -> None:
        self.stock(self.backup(
            self.attached(metadata={'wt:policy': 'off'}),
            metadata={'job': '7'}))


class SwitchedOffTest(NothingToDoTest):
    """Without a method everything is passed to the wrapped driver."""

    options = {'methods': [], 'required_level': 'filesystem'}

    def test_for_a_volume_in_use(self) -> None:
        self.stock(self.backup(self.attached(), metadata={'job': '7'}))

    def test_for_a_policy_that_cannot_be_read(self) -> None:
        self.stock(self.backup(self.attached(metadata={'wt:policy': '?'}),
                               metadata={'job': '7'}))


@ddt.ddt
class FailureTest(base.BackupTestCase):

    options = {'window_timeout': 1}

    def fail_in(self, name: str, error: Exception) -> None:
        """Have something fail once the cast was made."""
        def broken(*_args: Any, **_kwargs: Any) -> None:
            raise error

        def break_it() -> None:
            patch = fixtures.MonkeyPatch(name, broken)
            patch.setUp()
            self.addCleanup(patch.cleanUp)
        self.cinder_volume.before = break_it
        self.cinder_volume.act = (
            lambda *args: self.cinder_volume.before())

    @ddt.data(
        ('cinder.objects.Backup.get_by_id', db_exception.DBError()),
        ('cinder.objects.Volume.get_by_id', db_exception.DBError()),
        ('cinder.objects.Volume.admin_metadata_update',
         db_exception.DBError()),
        ('libvirt_qemu.qemuAgentCommand', RuntimeError('libvirt')),
        ('tooz.drivers.file.FileLock.release', OSError('full')),
        *((f'cinder_wt_backup.{name}', RuntimeError("can't start new thread"))
          for name in (
              'steps.reached', 'window.volume.Window.wait',
              'window.volume.Window.cover', 'window.volume.Window.close',
              'window.guest.GuestWindow.close', 'claims.claim.worst',
              'claims.claim.Claim.lowered', 'service.store.close_window',
              'service.record.StoredClaim',
              'service.backup_windows.Backups._close',
              'service.backup_windows._record_end')))
    @ddt.unpack
    def test_nothing_is_raised_after_the_cast(self, name: str,
                                              error: Exception) -> None:
        volume = self.attached()
        backup = self.backup(volume)
        self.fail_in(name, error)
        self.manager.create_backup(self.context, backup)
        self.assertEqual(1, len(self.cinder_volume.casts))

    @ddt.data('window.volume.Window.close',
              'service.backup_windows.Backups._close')
    def test_a_window_that_could_not_be_closed_is_crash_and_left_open(
            self, name: str) -> None:
        volume = self.attached()
        backup = self.backup(volume)
        act = self.cinder_volume.clone_and_call_back
        self.fail_in(f'cinder_wt_backup.{name}', RuntimeError('no thread'))
        self.cinder_volume.act = act
        self.manager.create_backup(self.context, backup)
        self.cinder_volume.join()
        backup.refresh()
        self.assertEqual(('available', 'crash'),
                         (backup.status, backup.metadata[LEVEL]))
        self.assertIn('no thread', backup.metadata[REASON])
        left = store.window_of(self.context, volume.id)
        self.assertTrue(owners.is_gone(left.owner), left)

    def test_a_cast_that_fails_is_the_backups_failure(self) -> None:
        def unsent(*_args: Any) -> None:
            raise exception.ServiceUnavailable()
        self.useFixture(fixtures.MonkeyPatch(
            'cinder.volume.rpcapi.VolumeAPI.get_backup_device', unsent))
        backup = self.backup(self.attached())
        self.assertRaises(exception.ServiceUnavailable, self.create, backup)
        backup.refresh()
        self.assertEqual('error', backup.status)
        self.assertEqual(['start', 'release'], self.guardian.commands)

    def test_a_snapshot_that_fails_unseen_ends_with_the_window(self) -> None:
        self.cinder_volume.act = self.cinder_volume.fail
        volume = self.attached()
        self.create(self.backup(volume))
        self.assertIsNone(self.guardian.holder)
        self.assertIsNone(store.window_of(self.context, volume.id))

    def test_a_backup_reset_meanwhile_lets_the_guest_go(self) -> None:
        def reset(context: Any, backup: Any, volume: Any) -> None:
            backup.status = 'error'
            backup.save()
        self.cinder_volume.act = reset
        began = time.monotonic()
        self.create(self.backup(volume := self.attached()))
        self.assertIsNone(self.guardian.holder)
        self.assertLess(time.monotonic() - began, 5)
        self.assertIsNone(store.window_of(self.context, volume.id))

    def test_a_backup_deleted_meanwhile_lets_the_guest_go(self) -> None:
        self.cinder_volume.act = (
            lambda context, backup, volume: backup.destroy())
        backup = self.backup(self.attached())
        self.manager.create_backup(self.context, backup)
        self.assertIsNone(self.guardian.holder)

    def test_a_policy_that_cannot_be_read_fails_before_the_cast(self
                                                                ) -> None:
        volume = self.attached(metadata={'wt:policy': 'require=best'})
        backup = self.backup(volume)
        self.assertRaises(exceptions.PolicyError, self.create, backup)
        backup.refresh()
        volume.refresh()
        self.assertEqual('error', backup.status)
        self.assertIn("'require=best'", backup.fail_reason)
        self.assertEqual('in-use', volume.status)
        self.assertEqual([], self.cinder_volume.casts)
        self.assertEqual([], self.libvirt.opened)

    def test_a_callback_that_finds_the_database_broken_goes_on(self) -> None:
        self.cinder_volume.act = self.cinder_volume.clone_only
        backup = self.backup(self.attached())
        self.create(backup)
        backup.refresh()
        device = objects.Volume.get_by_id(self.context, backup.temp_volume_id)
        answers = [db_exception.DBError()]

        def admin_metadata(*_value: Any) -> dict[str, str]:
            if not _value and answers:
                raise answers.pop()
            return {}
        self.useFixture(fixtures.MockPatchObject(
            objects.Volume, 'admin_metadata',
            mock.PropertyMock(side_effect=admin_metadata)))
        self.cinder_volume.call_back(self.context, backup, device)
        backup.refresh()
        self.assertEqual([], answers)
        self.assertEqual('available', backup.status)
