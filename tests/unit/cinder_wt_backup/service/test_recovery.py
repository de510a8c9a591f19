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
from unittest import mock

from cinder import coordination
from cinder.tests.unit import utils
import ddt
import fixtures
from oslo_utils import timeutils

from cinder_wt_backup.service import owners
from cinder_wt_backup.service import record
from cinder_wt_backup.service import recovery
from cinder_wt_backup.service import store
from tests.unit import base
from tests.unit.fixtures import cinder
from tests.unit.fixtures import libvirt as hosts

# A process of this machine that is there no more.
GONE = '1/1/' + owners.this_process().rpartition('/')[2]


class RecoverTestCase(base.CinderTestCase):
    """One process that recovers; what it could not it tries at once again."""

    def setUp(self) -> None:
        super().setUp()
        self.recovery: recovery.Recovery | None = None
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.service.recovery.FIRST_PAUSE', 0))

    def left_open(self, host: str = 'testhost', process: str = GONE,
                  seconds: float = 600, frozen: bool = False,
                  **values: Any) -> tuple[Any, hosts.Domain]:
        """Return a volume with a window that was left open, and its guest."""
        volume = self.attached(**values)
        self.guardian.holder = base.TOKEN
        store.open_window(self.context, volume.id, record.OpenWindow(
            host, 'a-backup', base.TOKEN, time.time() + seconds, process))
        if frozen:
            store.note_freeze(self.context, volume.id, base.TOKEN)
            self.domain.agent.frozen = ['/mnt']
        return volume, self.domain

    def recover(self, **values: Any) -> str:
        """Recover as ``testhost``; return what it logs."""
        log = self.useFixture(fixtures.FakeLogger())
        if self.recovery is None:
            self.recovery = recovery.Recovery(base.settings(
                **{'libvirt_hosts': [base.HOST], **values}))
        self.recovery.begin(self.context, 'testhost')
        self.recovery.join()
        return log.output

    def open_windows(self, host: str = 'testhost') -> list[str]:
        return [volume.id for volume, window
                in store.left_open(self.context) if window.host == host]


@ddt.ddt
class OwnTest(RecoverTestCase):
    """What a former process of this host left."""

    def test_every_window_is_released(self) -> None:
        left = [self.left_open() for _ in range(2)]
        self.recover()
        for _volume, domain in left:
            self.assertIsNone(domain.agent.guardian.holder)
        self.assertEqual([], self.open_windows())

    def test_one_of_a_process_that_lives_is_left_alone(self) -> None:
        volume, _domain = self.left_open(process=owners.this_process())
        self.assertEqual('', self.recover())
        self.assertEqual(base.TOKEN, self.guardian.holder)
        self.assertEqual([volume.id], self.open_windows())

    def test_another_worker_that_is_at_it_is_not_waited_for(self) -> None:
        volume, _domain = self.left_open()
        # A lock of files does not tell processes apart that are one.
        taken = mock.Mock()
        taken.acquire.return_value = False
        self.useFixture(fixtures.MockPatchObject(
            coordination.COORDINATOR, 'get_lock', return_value=taken))
        self.recover()
        self.assertEqual([volume.id], self.open_windows())
        taken.acquire.assert_called_once_with(blocking=False)
        taken.acquire.return_value = True
        self.recover()
        self.assertEqual([], self.open_windows())

    def test_the_worker_that_does_it_is_the_same_each_time(self) -> None:
        self.recover()
        with fixtures.MockPatchObject(coordination.COORDINATOR, 'get_lock',
                                      None):
            self.left_open()
            self.recover()
        self.assertEqual([], self.open_windows())

    def test_unless_its_lease_ended_long_ago(self) -> None:
        self.left_open(process=owners.this_process(), seconds=-1)
        self.recover()
        self.assertEqual([], self.open_windows())

    def test_a_frozen_guest_is_thawed(self) -> None:
        self.left_open(frozen=True)
        self.recover()
        self.assertEqual([], self.domain.agent.frozen)
        self.assertIsNone(self.guardian.holder)
        self.assertEqual([], self.open_windows())

    def test_where_no_program_may_be_run_it_is_only_thawed(self) -> None:
        self.left_open(frozen=True, metadata={'wt:policy': 'no-exec'})
        self.recover()
        self.assertEqual([], self.domain.agent.frozen)
        self.assertEqual([], self.guardian.arguments)

    def test_it_is_released_also_when_all_is_switched_off(self) -> None:
        self.left_open()
        self.recover(methods=[])
        self.assertIsNone(self.guardian.holder)

    @ddt.data(lambda domain: setattr(domain, 'channel', ''),
              lambda domain: setattr(domain, 'disks', ['<disk']),
              lambda domain: domain.agent.answers.update(
                  {'guest-info': lambda: 1 / 0}))
    def test_one_that_cannot_be_is_told_and_kept(self, spoil: Any) -> None:
        volume, domain = self.left_open()
        spoil(domain)
        _volume, other = self.left_open()
        self.assertIn('could not be released', self.recover())
        self.assertIsNone(other.agent.guardian.holder)
        self.assertEqual([volume.id], self.open_windows())

    def test_one_that_is_stuck_is_tried_again(self) -> None:
        volume, domain = self.left_open()
        domain.agent.guardian.filesystems[0].undo = 'frozen'
        self.assertIn('frozen by somebody else', self.recover())
        self.assertEqual([volume.id], self.open_windows())
        domain.agent.guardian.filesystems[0].undo = 'undone'
        self.recover()
        self.assertEqual([], self.open_windows())

    def test_one_that_ended_unknown_is_kept_beyond_its_lease(self) -> None:
        volume, domain = self.left_open(seconds=-1)
        domain.agent.guardian.exits['release'] = [254]
        self.recover()
        self.assertEqual([volume.id], self.open_windows())
        self.recover()
        self.assertEqual([], self.open_windows())

    def test_one_that_is_stuck_is_kept_beyond_its_lease(self) -> None:
        volume, domain = self.left_open(seconds=-1)
        domain.agent.guardian.filesystems[0].undo = 'stuck'
        self.recover()
        self.assertEqual([volume.id], self.open_windows())
        for attachment in volume.volume_attachment:
            attachment.destroy()
        self.recover()
        self.assertEqual([], self.open_windows())

    def test_a_volume_that_was_detached_is_kept_until_the_lease(self) -> None:
        volume, _domain = self.left_open()
        for attachment in volume.volume_attachment:
            attachment.destroy()
        self.recover()
        self.assertEqual([volume.id], self.open_windows())
        store.open_window(self.context, volume.id, record.OpenWindow(
            'testhost', 'a-backup', base.TOKEN, time.time() - 1))
        self.recover()
        self.assertEqual([], self.open_windows())

    def test_a_frozen_guest_that_is_unreachable_is_kept_for_good(self
                                                                 ) -> None:
        volume, domain = self.left_open(frozen=True, seconds=-1)
        domain.channel = ''
        self.assertIn('virsh domfsthaw', self.recover())
        self.assertEqual([volume.id], self.open_windows())
        domain.channel = 'connected'
        self.recover()
        self.assertEqual([], domain.agent.frozen)


class ManyTest(RecoverTestCase):
    """More than can be put back at once, at a host that does not answer."""

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.service.recovery.FIRST_PAUSE', 5))
        self.libvirt.hang = 0.2

    def begin(self) -> float:
        """Begin; return how long that took, seconds."""
        if self.recovery is None:
            self.recovery = recovery.Recovery(base.settings(
                libvirt_hosts=[base.HOST]))
        began = time.monotonic()
        self.recovery.begin(self.context, 'testhost')
        return time.monotonic() - began

    def test_a_start_does_not_wait_for_them(self) -> None:
        for _ in range(100):
            self.left_open(frozen=True)
        self.assertLess(self.begin(), 5)
        assert self.recovery is not None
        self.assertTrue(self.recovery.is_at_it)
        self.recovery.join()
        self.assertEqual([], self.open_windows())

    def test_a_round_has_an_end(self) -> None:
        for _ in range(20):
            self.left_open()
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.service.recovery.ROUND', 0.3))
        log = self.useFixture(fixtures.FakeLogger())
        rounds = 0
        while self.open_windows():
            self.begin()
            assert self.recovery is not None
            self.recovery.join()
            rounds += 1
        self.assertIn('are left for the next time', log.output)
        self.assertGreater(rounds, 1)

    def test_with_no_threads_left_one_does_it_alone(self) -> None:
        for _ in range(3):
            self.left_open()
        start = threading.Thread.start

        def fail(thread: threading.Thread) -> None:
            assert self.recovery is not None
            if getattr(thread, '_target', None) == self.recovery._release_some:
                raise RuntimeError("can't start new thread")
            start(thread)
        self.useFixture(fixtures.MonkeyPatch('threading.Thread.start', fail))
        self.begin()
        assert self.recovery is not None
        self.recovery.join()
        self.assertEqual([], self.open_windows())

    def test_one_that_could_not_be_is_put_off(self) -> None:
        volume, domain = self.left_open()
        domain.channel = ''
        for _ in range(2):
            self.begin()
            assert self.recovery is not None
            self.recovery.join()
        self.assertEqual(1, len(self.libvirt.opened))
        self.assertEqual([volume.id], self.open_windows())

    def test_a_day_after_its_lease_it_is_given_up_and_told(self) -> None:
        _volume, domain = self.left_open(frozen=True, seconds=-90000)
        domain.channel = ''
        notify = self.useFixture(fixtures.MockPatch(
            'cinder.volume.volume_utils.notify_about_volume_usage')).mock
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.service.recovery.FIRST_PAUSE', 0))
        for _ in range(recovery.LEAST_TRIES - 1):
            self.assertNotIn('not tried any more', self.recover())
        self.assertEqual(1, len(self.open_windows()))
        self.assertIn('not tried any more', self.recover())
        self.assertEqual([], self.open_windows())
        self.assertEqual('write_through.given_up', notify.call_args[0][2])
        self.assertEqual(
            {'backup_id': 'a-backup', 'may_be_frozen': True},
            notify.call_args[1]['extra_usage_info'])


class OthersTest(RecoverTestCase):
    """What another host left."""

    def service(self, host: str, seconds_silent: int) -> None:
        beat = timeutils.utcnow() - datetime.timedelta(seconds=seconds_silent)
        utils.create_service(self.context, {
            'host': host, 'binary': 'cinder-backup',
            'topic': 'cinder-backup', 'created_at': beat, 'updated_at': beat})

    def test_that_is_up_is_its_own_affair(self) -> None:
        self.service('other', 1)
        volume, _domain = self.left_open('other', seconds=-1, frozen=True)
        self.recover()
        self.assertEqual(base.TOKEN, self.guardian.holder)
        self.assertEqual([volume.id], self.open_windows('other'))

    def test_that_is_down_is_closed_after_its_lease(self) -> None:
        self.service('other', 600)
        volume, _domain = self.left_open('other')
        self.recover()
        self.assertEqual([volume.id], self.open_windows('other'))
        store.open_window(self.context, volume.id, record.OpenWindow(
            'other', 'a-backup', base.TOKEN, time.time() - 1, GONE))
        self.recover()
        self.assertIsNone(self.guardian.holder)
        self.assertEqual([], self.open_windows('other'))

    def test_that_is_down_has_its_freezes_undone_at_once(self) -> None:
        self.service('other', 600)
        self.left_open('other', frozen=True)
        self.recover()
        self.assertEqual([], self.domain.agent.frozen)
        self.assertEqual([], self.open_windows('other'))

    def test_a_process_of_ours_with_its_number_does_not_matter(self) -> None:
        self.service('other', 600)
        self.left_open('other', owners.this_process(), -1)
        self.recover()
        self.assertEqual([], self.open_windows('other'))


class ServiceTest(base.BackupTestCase):
    """cinder-backup looks every now and then, and does not end by it."""

    def test_it_is_looked_for_periodically(self) -> None:
        volume = self.attached()
        self.guardian.holder = base.TOKEN
        store.open_window(self.context, volume.id, record.OpenWindow(
            'testhost', 'a-backup', base.TOKEN, time.time() + 600, GONE))
        self.manager.run_periodic_tasks(self.context)
        cinder.process().recovery.join()
        self.assertIsNone(self.guardian.holder)
        self.assertIsNone(store.window_of(self.context, volume.id))

    def test_a_database_that_is_gone_is_told(self) -> None:
        log = self.useFixture(fixtures.FakeLogger())
        with fixtures.MonkeyPatch(
                'cinder_wt_backup.service.database.volumes_with', None):
            self.manager.run_periodic_tasks(self.context)
        self.assertIn('cannot be looked for', log.output)
