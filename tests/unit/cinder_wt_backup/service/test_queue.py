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

import threading
import time
from typing import Any
from unittest import mock

from cinder import context
from cinder import objects
from cinder import service
import fixtures

from tests.unit import base
from tests.unit.fixtures import cinder

LEVEL, REASON = 'wt:level', 'wt:reason'


class QueueTest(base.BackupTestCase):
    """One window at a time, and it is taken."""

    options = {'max_windows': 1}

    def setUp(self) -> None:
        super().setUp()
        # That of the snapshot of the first one.
        self.go_on = threading.Event()
        self.addCleanup(self.go_on.set)
        self.cinder_volume.before = lambda: self.go_on.wait(20)
        self.first = self.backup(self.attached())
        self.request = threading.Thread(
            target=self.manager.create_backup,
            args=(self.context, cinder.through_rpc(self.context, self.first)))
        self.request.start()
        self.addCleanup(self.request.join)
        self.await_casts(1)

    def await_casts(self, number: int) -> None:
        for _try in range(1000):
            if len(self.cinder_volume.casts) >= number:
                return
            time.sleep(0.01)
        self.fail(f'{self.cinder_volume.casts}')

    def ask(self, **values: Any) -> objects.Backup:
        """Have a backup requested, by a thread of RPC."""
        backup = self.backup(self.attached(), **values)
        # Each request has a context of its own.
        own = context.get_admin_context()
        self.manager.create_backup(own, cinder.through_rpc(own, backup))
        return backup

    def all_made(self, *backups: objects.Backup) -> list[str]:
        """Have the snapshots made; return what became of the backups."""
        self.go_on.set()
        self.request.join(20)
        cinder.process().queue.join()
        self.cinder_volume.join()
        for backup in backups:
            backup.refresh()
        return [backup.metadata.get(LEVEL, backup.status)
                for backup in backups]

    def test_who_waits_holds_no_thread_of_rpc_and_no_guest(self) -> None:
        backup = self.ask()
        self.assertIsNone(self.guardian.holder)
        self.assertEqual(1, len(self.cinder_volume.casts))
        self.assertEqual(['write-through'] * 2,
                         self.all_made(self.first, backup))

    def test_why_it_waits_is_said_each_minute(self) -> None:
        log = self.useFixture(fixtures.FakeLogger())
        for name in ('LOOK_AGAIN', 'PROGRESS'):
            self.useFixture(fixtures.MonkeyPatch(
                f'cinder_wt_backup.service.slots.{name}', 0.01))
        backup = self.ask()
        expected = (f'Backup {backup.id} has waited 0 s for its turn: as many '
                    f'windows are open as may be (max_windows)')
        end = time.monotonic() + 10
        while expected not in log.output and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(['write-through'], self.all_made(backup))
        self.assertIn(expected, log.output)

    def test_restores_and_deletions_go_on_meanwhile(self) -> None:
        waiting = [self.ask() for _ in range(8)]
        old = self.backup(self.volume(), status='deleting', service=cinder.
                          WRAPPED)
        self.manager.delete_backup(self.context, old)
        self.assertEqual('deleted', objects.Backup.get_by_id(
            self.context.elevated(read_deleted='yes'), old.id).status)
        self.assertEqual({'write-through'}, set(self.all_made(*waiting)))

    def test_for_one_that_is_reset_meanwhile_nothing_is_made(self) -> None:
        reset, backup = self.ask(), self.ask()
        reset.status = 'error'
        reset.save()
        self.assertEqual(['error', 'write-through'],
                         self.all_made(reset, backup))
        self.assertEqual(2, len(self.cinder_volume.casts))

    def test_one_that_cinder_refuses_is_recorded_as_in_stock(self) -> None:
        backup = self.backup(self.attached(status='in-use'))
        own = context.get_admin_context()
        self.manager.create_backup(own, cinder.through_rpc(own, backup))
        cinder.process().queue.join()
        backup.refresh()
        self.assertEqual(('error', None), (backup.status, backup.service))

    def test_without_a_thread_it_waits_in_that_of_rpc(self) -> None:
        start = threading.Thread.start

        def fail(thread: threading.Thread) -> None:
            if getattr(thread, '_target', None) == (
                    cinder.process().queue._start_apart):
                raise RuntimeError("can't start new thread")
            start(thread)
        self.useFixture(fixtures.MonkeyPatch('threading.Thread.start', fail))
        ending = threading.Timer(0.2, self.go_on.set)
        ending.start()
        backup = self.ask()
        self.assertEqual(['write-through'], self.all_made(backup))

    def test_told_to_stop_who_waits_is_failed_by_cinder(self) -> None:
        # As its clean-up would at the next start.
        backups = [self.ask() for _ in range(3)]
        process = service.Service('testhost', 'cinder-backup', 'cinder-backup',
                                  'cinder.backup.manager.BackupManager',
                                  service_name='backup')
        process.stop()
        process.wait()
        self.assertEqual(1, len(self.cinder_volume.casts))
        self.assertEqual(['error'] * 3, self.all_made(*backups))
        self.assertIn('was told to stop', backups[0].fail_reason)

    def test_a_lock_that_cannot_be_released_keeps_no_service(self) -> None:
        process = service.Service('testhost', 'cinder-backup', 'cinder-backup',
                                  'cinder.backup.manager.BackupManager',
                                  service_name='backup')
        self.useFixture(fixtures.MonkeyPatch(
            'tooz.drivers.file.FileLock.release',
            mock.Mock(side_effect=RuntimeError('etcd is away'))))
        stopped = self.useFixture(fixtures.MockPatch(
            'oslo_service.service.Service.stop')).mock
        process.stop()
        stopped.assert_called_once_with(graceful=True)

    def test_a_volume_that_was_detached_meanwhile_is_told(self) -> None:
        backup = self.ask()
        for row in objects.VolumeAttachmentList.get_all_by_volume_id(
                self.context, backup.volume_id):
            row.destroy()
        self.assertEqual(['crash'], self.all_made(backup))
        self.assertIn('attached to nothing',
                      backup.metadata[REASON])
