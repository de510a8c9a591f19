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

from __future__ import annotations

import datetime
import threading
import time
from typing import Any

from cinder import objects
from cinder.tests.unit import utils
import fixtures
from oslo_db import exception as db_exception
from oslo_utils import timeutils

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.hypervisor import host as compute_host
from cinder_wt_backup.service import backup_windows
from cinder_wt_backup.service import owners
from cinder_wt_backup.service import record
from cinder_wt_backup.service import store
from tests.unit import base

Level = claims.Level

# A process of this machine that is there no more.
GONE = '1/1/' + owners.this_process().rpartition('/')[2]


class BackupsTestCase(base.CinderTestCase):
    """One process of cinder-backup; ``options`` gives the others."""

    def setUp(self) -> None:
        super().setUp()
        self.process = self.another()

    def another(self, **values: Any) -> backup_windows.Backups:
        return backup_windows.Backups(base.settings(
            **{'libvirt_hosts': [base.HOST], **values}))

    def requested(self, **values: Any) -> tuple[Any, Any]:
        volume = self.attached(**values)
        return volume, self.backup(volume, service='posix')

    def make(self, volume: Any, backup: Any,
             process: backup_windows.Backups | None = None) -> Any:
        """Have a snapshot made in a window; return what can be claimed."""
        process = process or self.process
        with self.window(volume, backup, process) as window:
            backup.temp_volume_id = volume.id
            if window:
                window.cover()
        return self.claim(volume, backup, process)

    def window(self, volume: Any, backup: Any,
               process: backup_windows.Backups | None = None) -> Any:
        process = process or self.process
        return process.window(self.context, process.plan(backup, volume))

    def claim(self, volume: Any, backup: Any,
              process: backup_windows.Backups | None = None) -> Any:
        process = process or self.process
        return process.claim(self.context, process.plan(backup, volume))


class WindowTest(BackupsTestCase):

    def test_it_is_on_record_before_the_guest_is_changed(self) -> None:
        volume, backup = self.requested()
        found = []
        self.domain.agent.answers['guest-info'] = lambda: (
            found.append(store.window_of(self.context, volume.id))
            or self.domain.agent.guest_info())
        self.assertEqual(Level.WRITE_THROUGH, self.make(volume, backup).level)
        self.assertEqual(backup.id, found[0].backup)
        self.assertEqual(self.guardian.arguments[0][1]['token'],
                         found[0].token)
        self.assertGreater(found[0].ends, time.time() + 60)

    def test_one_that_cannot_be_put_on_record_is_not_opened(self) -> None:
        volume, backup = self.requested()

        def fail(*_args: Any) -> None:
            raise db_exception.DBError()
        with fixtures.MonkeyPatch(
                'cinder.objects.Volume.admin_metadata_update', fail):
            with self.window(volume, backup):
                pass
        self.assertEqual([], self.libvirt.opened)
        self.assertEqual(Level.CRASH,
                         self.claim(volume, backup).level)

    def test_an_attachment_that_cannot_be_understood_is_told(self) -> None:
        volume, backup = self.requested()
        volume.volume_attachment[0].connector = {'host': base.HOST}
        volume.volume_attachment[0].instance_uuid = None
        proof = self.make(volume, backup)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('something else than an instance', proof.reason)

    def test_an_unexpected_error_is_told(self) -> None:
        volume, backup = self.requested()
        self.useFixture(fixtures.MockPatchObject(
            objects.VolumeAttachment, 'connection_info', 7))
        proof = self.make(volume, backup)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('unexpected error', proof.reason)

    def test_a_freeze_is_on_record_before_it(self) -> None:
        process = self.another(barrier='freeze')
        volume, backup = self.requested()
        found = []
        freeze = self.domain.agent.guest_fsfreeze_freeze_list
        self.domain.agent.answers['guest-fsfreeze-freeze-list'] = (
            lambda **points: found.append(
                store.window_of(self.context, volume.id).may_be_frozen)
            or freeze(**points))
        self.assertEqual(Level.FILESYSTEM,
                         self.make(volume, backup, process).level)
        self.assertEqual([True], found)

    def test_a_freeze_that_cannot_be_on_record_is_not_made(self) -> None:
        process = self.another(barrier='freeze')
        volume, backup = self.requested()

        def fail(*_args: Any) -> None:
            raise db_exception.DBError()
        with fixtures.MonkeyPatch('cinder_wt_backup.service.store.note_freeze',
                                  fail):
            proof = self.make(volume, backup, process)
        self.assertEqual(Level.WRITE_THROUGH, proof.level)
        self.assertIn('could not be put on record', proof.reason)
        self.assertNotIn('guest-fsfreeze-freeze-list',
                         self.domain.agent.commands)

    def test_the_bodys_error_comes_out_and_the_guest_is_let_go(self) -> None:
        volume, backup = self.requested()

        def body() -> None:
            with self.window(volume, backup):
                raise KeyError('rpc')
        self.assertRaises(KeyError, body)
        self.assertIsNone(self.guardian.holder)
        self.assertIsNone(store.window_of(self.context, volume.id))


class EarlierWindowTest(BackupsTestCase):
    """A volume whose earlier backup's window is still on record."""

    def left_by(self, owner: str, host: str = 'testhost',
                **values: Any) -> tuple[Any, Any]:
        volume, backup = self.requested()
        self.guardian.holder = base.TOKEN
        store.open_window(self.context, volume.id, record.OpenWindow(
            host, 'earlier', base.TOKEN, time.time() + 600, owner, **values))
        return volume, backup

    def test_what_a_process_left_that_is_gone_is_released_first(self) -> None:
        claim = self.make(*self.left_by(GONE))
        self.assertEqual(Level.WRITE_THROUGH, claim.level)

    def test_one_that_closes_in_time_is_waited_for(self) -> None:
        volume, backup = self.left_by(owners.this_process())

        def close() -> None:
            self.guardian.holder = None
            store.close_window(
                self.context, volume.id, base.TOKEN, record.StoredClaim(
                    'earlier', claims.Claim(Level.FLUSHED)))
        closing = threading.Timer(0.3, close)
        closing.start()
        claim = self.make(volume, backup)
        closing.join()
        self.assertEqual(Level.WRITE_THROUGH, claim.level)

    def test_a_frozen_one_of_a_host_that_is_down_is_released(self) -> None:
        beat = timeutils.utcnow() - datetime.timedelta(hours=1)
        utils.create_service(self.context, {
            'host': 'otherhost', 'topic': 'cinder-backup',
            'binary': 'cinder-backup', 'created_at': beat,
            'updated_at': beat})
        claim = self.make(*self.left_by(GONE, 'otherhost',
                                        may_be_frozen=True))
        self.assertEqual(Level.WRITE_THROUGH, claim.level)

    def test_a_freeze_on_record_is_not_forgotten(self) -> None:
        volume, backup = self.left_by(GONE, may_be_frozen=True)
        self.domain.channel = ''
        claim = self.make(volume, backup, self.another(lock_timeout=1))
        self.assertEqual(Level.CRASH, claim.level)
        self.assertIn('an earlier backup of this volume, earlier',
                      claim.reason)
        found = store.window_of(self.context, volume.id)
        self.assertEqual((base.TOKEN, True),
                         (found.token, found.may_be_frozen))

    def test_one_that_is_open_for_too_long_is_left_alone(self) -> None:
        process = self.another(lock_timeout=1)
        for owner, host in ((owners.this_process(), 'testhost'),
                            (GONE, 'otherhost')):
            volume, backup = self.left_by(owner, host)
            self.assertEqual(Level.CRASH,
                             self.make(volume, backup, process).level)
            self.assertEqual(base.TOKEN, store.window_of(
                self.context, volume.id).token)
            self.assertEqual(base.TOKEN, self.guardian.holder)


class UnforeseenTest(BackupsTestCase):
    """An error nobody foresaw while a window closes."""

    def test_the_backup_goes_on_and_who_waits_is_told(self) -> None:
        volume, backup = self.requested()
        with self.window(volume, backup):
            # Of the connection to libvirt, when it is closed.
            self.useFixture(fixtures.MockPatchObject(
                compute_host.Hypervisor, '__exit__',
                side_effect=RuntimeError('no thread can be started')))
        began = time.monotonic()
        self.process.close_window(self.context, backup)
        self.assertLess(time.monotonic() - began, 5)
        backup.temp_volume_id = volume.id
        self.assertEqual(Level.FLUSHED, self.claim(volume, backup).level)
        self.assertIsNone(self.guardian.holder)


class EndedEarlyTest(BackupsTestCase):
    """A window that ended before its snapshot, which Cinder forgets."""

    def setUp(self) -> None:
        super().setUp()
        self.subject = self.requested()
        self.id = self.subject[0].id
        self.process = self.another(window_timeout=1)
        with self.window(*self.subject) as window:
            # Cinder's NFS driver has loaded the volume by now, and saves it
            # when its snapshot is made.
            loaded = objects.Volume.get_by_id(self.context, self.id)
            before = dict(loaded.admin_metadata)
            window.wait(lambda: False)
        loaded.admin_metadata_update(before, True)
        self.subject[1].temp_volume_id = self.id

    def test_it_is_on_record_as_ended_when_its_backup_goes_on(self) -> None:
        self.assertIsNotNone(store.window_of(self.context, self.id))
        began = time.monotonic()
        self.process.close_window(self.context, self.subject[1])
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(Level.FLUSHED, self.claim(*self.subject).level)
        self.assertIsNone(store.window_of(self.context, self.id))

    def test_or_after_some_time_for_another_worker(self) -> None:
        self.process.look_after(self.context, 'testhost')
        self.another().close_window(self.context, self.subject[1])
        self.assertEqual(Level.FLUSHED, self.claim(*self.subject).level)

    def test_a_database_that_is_away_makes_nobody_forget(self) -> None:
        with fixtures.MonkeyPatch('cinder_wt_backup.service.store.is_open',
                                  None):
            self.process.look_after(self.context, 'testhost')
        self.process.close_window(self.context, self.subject[1])
        self.assertEqual(Level.FLUSHED, self.claim(*self.subject).level)

    def test_a_volume_that_is_gone_keeps_nobody_from_his_window(self) -> None:
        other = self.requested()
        objects.Volume.get_by_id(self.context, self.id).destroy()
        self.process.look_after(self.context, 'testhost')
        self.assertEqual(Level.WRITE_THROUGH, self.make(*other).level)
        self.process.close_window(self.context, other[1])

    def test_a_later_window_is_not_ended_by_it(self) -> None:
        store.open_window(self.context, self.id, record.OpenWindow(
            'testhost', 'later', base.TOKEN, time.time() + 600,
            owners.this_process()))
        self.process.look_after(self.context, 'testhost')
        self.assertEqual('later', store.window_of(
            self.context, self.id).backup)


class SlotTest(BackupsTestCase):

    def test_no_more_windows_than_max_windows(self) -> None:
        process = self.another(max_windows=1, queue_timeout=1)
        first, second = self.requested(), self.requested()
        with self.window(*first, process):
            proof = self.make(*second, process)
            self.assertEqual([], self.guardian.arguments)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('queue_timeout = 1 s', proof.reason)

    def test_told_to_stop_nobody_waits(self) -> None:
        process = self.another(max_windows=1)
        first, second = self.requested(), self.requested()
        with self.window(*first, process):
            process.queue.stop()
            self.assertRaises(exceptions.NoSlot, self.make, *second, process)
        self.assertEqual([], self.guardian.arguments)

    def test_where_the_driver_has_begun_it_goes_on_without(self) -> None:
        # The ceph driver cleans up after no error there.
        process = self.another(max_windows=1)
        first, volume = self.requested(), self.attached()
        backup = self.backup(volume, service='cinder.backup.drivers.ceph.'
                             'CephBackupDriver')
        with self.window(*first, process):
            process.queue.stop()
            proof = self.make(volume, backup, process)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('was told to stop', proof.reason)

    def test_a_window_that_closes_makes_room(self) -> None:
        process = self.another(max_windows=1)
        first, second = self.requested(), self.requested()
        opened = self.window(*first, process)
        opened.__enter__()
        closing = threading.Timer(
            0.1, lambda: opened.__exit__(None, None, None))
        closing.start()
        proof = self.make(*second, process)
        closing.join()
        self.assertEqual(Level.WRITE_THROUGH, proof.level)


class OtherProcessTest(BackupsTestCase):
    """``continue_backup`` may run in another worker than the window."""

    def setUp(self) -> None:
        super().setUp()
        self.other = self.another()
        self.volume_, self.made = self.requested()
        self.made.temp_volume_id = self.volume_.id

    def passed(self) -> None:
        self.other.close_window(self.context, self.made)

    def test_the_window_is_waited_for(self) -> None:
        opened = self.window(self.volume_, self.made)
        opened.__enter__().cover()
        waiter = threading.Thread(target=self.passed)
        waiter.start()
        time.sleep(0.1)
        self.assertTrue(waiter.is_alive())
        opened.__exit__(None, None, None)
        waiter.join(20)
        self.assertFalse(waiter.is_alive())
        proof = self.claim(self.volume_, self.made, self.other)
        self.assertEqual(Level.WRITE_THROUGH, proof.level)

    def test_a_guest_that_is_not_put_back_is_not(self) -> None:
        with self.window(self.volume_, self.made):
            self.guardian.exits['release'] = [1]
        self.assertIsNotNone(store.window_of(self.context,
                                             self.volume_.id))
        self.passed()
        self.assertEqual(Level.CRASH, self.claim(
            self.volume_, self.made, self.other).level)

    def left_by(self, process: str, seconds: float = 600) -> None:
        """Have a process that is not this one leave its window open."""
        self.guardian.holder = base.TOKEN
        store.open_window(self.context, self.volume_.id, record.OpenWindow(
            'testhost', self.made.id, base.TOKEN, time.time() + seconds,
            process))

    def test_the_window_of_one_that_is_gone_is_taken_over(self) -> None:
        self.left_by(GONE)
        self.passed()
        self.assertIsNone(self.guardian.holder)
        proof = self.claim(self.volume_, self.made, self.other)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('the process that had it is gone', proof.reason)

    def test_one_that_hangs_is_waited_for_until_the_lease(self) -> None:
        self.left_by(owners.this_process(), 0.2)
        self.passed()
        self.assertIsNone(self.guardian.holder)

    def test_another_backups_window_is_not_waited_for(self) -> None:
        store.open_window(self.context, self.volume_.id, record.OpenWindow(
            'testhost', 'another', base.TOKEN, time.time() + 600))
        self.passed()

    def test_nothing_may_be_open(self) -> None:
        self.passed()
