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

from cinder import objects
import ddt
import fixtures
from oslo_db import exception as db_exception

from cinder_wt_backup import backups
from cinder_wt_backup import evidence
from cinder_wt_backup import record
from tests.unit import base
from tests.unit.fixtures import libvirt as hosts

Level = evidence.Level


class BackupsTestCase(base.CinderTestCase):
    """One process of cinder-backup; ``options`` gives the others."""

    def setUp(self) -> None:
        super().setUp()
        self.process = self.another()

    def another(self, **values: Any) -> backups.Backups:
        return backups.Backups(base.options(
            **{'libvirt_hosts': [base.HOST], **values}))

    def requested(self, **values: Any) -> tuple[Any, Any]:
        volume = self.attached(**values)
        return volume, self.backup(volume, service='posix')

    def make(self, volume: Any, backup: Any,
             process: backups.Backups | None = None) -> Any:
        """Have a snapshot made in a window; return what can be claimed."""
        process = process or self.process
        with process.window(self.context, backup, volume) as window:
            backup.temp_volume_id = volume.id
            if window:
                window.covered()
        return process.proof(self.context, backup)


class WindowTest(BackupsTestCase):

    def test_the_verdict_is_notified(self) -> None:
        volume, backup = self.requested()
        self.make(volume, backup)
        self.assertEqual([('backup.consistency', backup.id, 'write-through')],
                         [(message['event_type'],
                           message['payload']['backup_id'],
                           message['payload']['consistency']['wt:level'])
                          for message in self.notifier.notifications])

    def test_it_is_on_record_before_the_guest_is_changed(self) -> None:
        volume, backup = self.requested()
        found = []
        self.domain.agent.answers['guest-info'] = lambda: (
            found.append(record.window_of(self.context, volume.id))
            or self.domain.agent.guest_info())
        self.assertEqual(Level.WRITE_THROUGH, self.make(volume, backup).level)
        self.assertEqual(backup.id, found[0].backup)
        self.assertEqual(self.guardian.arguments[0][1], found[0].token)
        self.assertGreater(found[0].until, time.time() + 60)

    def test_one_that_cannot_be_put_on_record_is_not_opened(self) -> None:
        volume, backup = self.requested()

        def fail(*_args: Any) -> None:
            raise db_exception.DBError()
        with fixtures.MonkeyPatch(
                'cinder.objects.Volume.admin_metadata_update', fail):
            with self.process.window(self.context, backup, volume):
                pass
        self.assertEqual([], self.libvirt.opened)
        self.assertEqual(Level.CRASH,
                         self.process.proof(self.context, backup).level)

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

    def test_the_bodys_error_comes_out_and_the_guest_is_let_go(self) -> None:
        volume, backup = self.requested()

        def body() -> None:
            with self.process.window(self.context, backup, volume):
                raise KeyError('rpc')
        self.assertRaises(KeyError, body)
        self.assertIsNone(self.guardian.holder)
        self.assertIsNone(record.window_of(self.context, volume.id))

    def test_the_last_backups_verdict_is_not_this_ones(self) -> None:
        volume, backup = self.requested()
        self.make(volume, backup)
        second = self.backup(volume, service='posix')
        self.assertEqual(Level.CRASH,
                         self.process.proof(self.context, second).level)

    def test_every_verdict_is_logged(self) -> None:
        log = self.useFixture(fixtures.FakeLogger())
        volume, backup = self.requested()
        self.make(volume, backup)
        self.assertIn(f'Backup {backup.id} of volume {volume.id} is '
                      f'write-through', log.output)

    def test_one_warning_says_what_is_missing_and_what_to_do(self) -> None:
        volume, backup = self.requested()
        self.domain.channel = ''
        log = self.useFixture(fixtures.FakeLogger(level=30))
        self.make(volume, backup)
        self.assertEqual(1, log.output.count('\n'))
        self.assertIn('hw_qemu_guest_agent=yes', log.output)


class SlotTest(BackupsTestCase):

    def test_no_more_windows_than_max_windows(self) -> None:
        process = self.another(max_windows=1, lock_timeout=1)
        first, second = self.requested(), self.requested()
        with process.window(self.context, first[1], first[0]):
            proof = self.make(*second, process)
            self.assertEqual([], self.guardian.arguments)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('max_windows = 1', proof.reason)

    def test_a_window_that_closes_makes_room(self) -> None:
        process = self.another(max_windows=1, lock_timeout=30)
        first, second = self.requested(), self.requested()
        opened = process.window(self.context, first[1], first[0])
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
        self.other.point_in_time_passed(self.context, self.made)

    def test_the_window_is_waited_for(self) -> None:
        opened = self.process.window(self.context, self.made, self.volume_)
        opened.__enter__().covered()
        waiter = threading.Thread(target=self.passed)
        waiter.start()
        time.sleep(0.1)
        self.assertTrue(waiter.is_alive())
        opened.__exit__(None, None, None)
        waiter.join(20)
        self.assertFalse(waiter.is_alive())
        proof = self.other.proof(self.context, self.made)
        self.assertEqual(Level.WRITE_THROUGH, proof.level)

    def test_a_guest_that_is_not_put_back_is_not(self) -> None:
        with self.process.window(self.context, self.made, self.volume_):
            self.guardian.exits['release'] = [1]
        self.assertIsNotNone(record.window_of(self.context,
                                              self.volume_.id))
        self.passed()
        self.assertEqual(Level.CRASH, self.other.proof(
            self.context, self.made).level)

    def test_a_process_that_is_gone_is_waited_for_until_the_lease(self
                                                                  ) -> None:
        record.opened(self.context, self.volume_.id, 'testhost', record.Entry(
            self.made.id, base.TOKEN, time.time() + 0.2))
        log = self.useFixture(fixtures.FakeLogger())
        self.passed()
        self.assertIn('a process of testhost that is gone', log.output)
        proof = self.other.proof(self.context, self.made)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('the process that had it is gone', proof.reason)

    def test_another_backups_window_is_not_waited_for(self) -> None:
        record.opened(self.context, self.volume_.id, 'testhost', record.Entry(
            'another', base.TOKEN, time.time() + 600))
        self.passed()

    def test_nothing_may_be_open(self) -> None:
        self.passed()


@ddt.ddt
class RecoverTest(BackupsTestCase):

    def left_open(self, token: str = base.TOKEN) -> tuple[Any, hosts.Domain]:
        volume = self.attached()
        self.guardian.holder = token
        record.opened(self.context, volume.id, 'testhost', record.Entry(
            'a-backup', token, time.time() + 600))
        return volume, self.domain

    def recover(self) -> str:
        log = self.useFixture(fixtures.FakeLogger())
        self.process.recover('testhost')
        return log.output

    def open_windows(self) -> list[str]:
        return [volume.id for volume, _entry
                in record.left_open(self.context, 'testhost')]

    def test_every_window_of_this_host_is_released(self) -> None:
        left = [self.left_open() for _ in range(2)]
        self.recover()
        for _volume, domain in left:
            self.assertIsNone(domain.agent.guardian.holder)
        self.assertEqual([], self.open_windows())

    def test_a_frozen_guest_is_thawed(self) -> None:
        self.left_open()
        self.domain.agent.frozen = ['/mnt']
        self.recover()
        self.assertEqual([], self.domain.agent.frozen)

    def test_another_hosts_window_is_left_alone(self) -> None:
        self.left_open()
        self.process.recover('other')
        self.assertEqual(base.TOKEN, self.guardian.holder)

    def test_it_is_released_also_when_all_is_switched_off(self) -> None:
        self.left_open()
        self.process = self.another(methods=[])
        self.recover()
        self.assertIsNone(self.guardian.holder)

    @ddt.data(lambda domain: setattr(domain, 'channel', ''),
              lambda domain: setattr(domain, 'disks', ['<disk']),
              lambda domain: domain.agent.answers.update(
                  {'guest-fsfreeze-status': lambda: 1 / 0}))
    def test_one_that_cannot_be_is_told_and_kept(self, spoil: Any) -> None:
        volume, domain = self.left_open()
        spoil(domain)
        _volume, other = self.left_open()
        self.assertIn('could not be released', self.recover())
        self.assertIsNone(other.agent.guardian.holder)
        self.assertEqual([volume.id], self.open_windows())

    def test_a_volume_that_was_detached_is_kept_until_the_lease(self) -> None:
        volume, _domain = self.left_open()
        for attachment in volume.volume_attachment:
            attachment.destroy()
        self.recover()
        self.assertEqual([volume.id], self.open_windows())
        record.opened(self.context, volume.id, 'testhost', record.Entry(
            'a-backup', base.TOKEN, time.time() - 1))
        self.recover()
        self.assertEqual([], self.open_windows())
