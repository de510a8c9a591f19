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
import uuid

import libvirt

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.service import process
from cinder_wt_backup.window import volume as windows
from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import libvirt as hosts

Level = claims.Level


class WaitTest(base.WindowTestCase):

    def waited(self, finished: Any, **values: Any) -> claims.Claim:
        window = self.window(**values)
        window.open()
        window.wait(finished)
        return window.close()

    def test_until_it_is_seen_to_have_passed(self) -> None:
        seen = [False, False, True]
        proof = self.waited(lambda: seen.pop(0))
        self.assertEqual(Level.WRITE_THROUGH, proof.level)
        self.assertEqual([], seen)

    def test_or_until_it_is_told_to_have_passed(self) -> None:
        window = self.window()
        window.open()
        threading.Timer(0.05, window.passed.set).start()
        window.wait(lambda: False)
        self.assertEqual(Level.WRITE_THROUGH, window.close().level)

    def test_the_guest_is_held_meanwhile(self) -> None:
        self.waited(lambda: self.guardian.holder is not None or self.fail())

    def test_no_longer_than_the_window_may_last(self) -> None:
        began = time.monotonic()
        proof = self.waited(lambda: False, window_timeout=1)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('window_timeout = 1 s', proof.reason)
        self.assertIn('backup_use_temp_snapshot', proof.reason)
        self.assertIsNone(self.guardian.holder)

    def test_a_backup_that_is_gone_is_not_waited_for(self) -> None:
        def gone() -> bool:
            raise exceptions.BackupGone('the backup was deleted')
        proof = self.waited(gone)
        self.assertEqual((Level.FLUSHED, 'the backup was deleted'),
                         (proof.level, proof.reason))
        self.assertIsNone(self.guardian.holder)

    def test_a_database_that_fails_is_asked_again(self) -> None:
        answers = [RuntimeError('database'), None]

        def finished() -> bool:
            error = answers.pop(0)
            if error:
                raise error
            return True
        self.assertEqual(Level.WRITE_THROUGH, self.waited(finished).level)

    def test_nothing_is_waited_for_when_no_guest_is_held(self) -> None:
        self.domain.channel = ''
        window = self.window()
        window.open()
        window.wait(self.fail)
        self.assertEqual(Level.CRASH, window.close().level)


class WindowTest(base.WindowTestCase):

    def test_its_time_is_from_opening_to_closing(self) -> None:
        proof = self.proof(lambda: time.sleep(0.05))
        self.assertGreaterEqual(proof.window_ms, 50)

    def test_it_takes_five_messages_to_the_agent(self) -> None:
        window = self.window()
        window.open()
        window.wait(lambda: True)
        window.close()
        self.assertEqual(5, window.round_trips)
        self.assertEqual(['guest-info', fake.EXEC, fake.STATUS, fake.EXEC,
                          fake.STATUS], self.domain.agent.commands)

    def test_given_up_it_touches_nothing(self) -> None:
        window = self.window()
        window.give_up('too many windows')
        window.open()
        window.wait(self.fail)
        proof = window.close()
        self.assertEqual((Level.CRASH, 'too many windows'),
                         (proof.level, proof.reason))
        self.assertFalse(window.exempt)
        self.assertEqual([], self.libvirt.opened)

    def test_never_opened_it_closes(self) -> None:
        window = self.window()
        self.assertEqual(Level.CRASH, window.close().level)
        self.assertEqual([], self.libvirt.opened)

    def test_each_has_a_name_of_its_own(self) -> None:
        token = self.window().token
        self.assertRegex(token, '^[0-9a-f]{32}$')
        self.assertNotEqual(token, self.window().token)


class SeveralGuestsTest(base.WindowTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.other = self.libvirt.add('compute2', hosts.Domain(
            base.VOLUME, base.PROJECT, instance=str(uuid.UUID(int=0))))
        self.targets = (self.target(), self.target(
            instance=self.other.instance, uris=(hosts.URI % 'compute2',)))

    def closed(self) -> claims.Claim:
        self.opened = self.window(*self.targets)
        self.opened.open()
        self.opened.wait(lambda: True)
        return self.opened.close()

    def test_all_are_held(self) -> None:
        proof = self.closed()
        self.assertEqual(Level.WRITE_THROUGH, proof.level)
        self.assertEqual({'ext4': 2}, proof.filesystems)
        self.assertEqual(10, self.opened.round_trips)

    def test_the_worst_counts(self) -> None:
        self.other.channel = ''
        proof = self.closed()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn(self.other.instance, proof.reason)
        self.assertIsNone(self.guardian.holder)

    def test_one_that_is_shut_off_does_not_count(self) -> None:
        self.other.state_now = libvirt.VIR_DOMAIN_SHUTOFF
        self.assertEqual(Level.WRITE_THROUGH, self.closed().level)
        self.assertFalse(self.opened.exempt)

    def test_one_whose_flushes_are_ignored_makes_it_crash(self) -> None:
        self.other.disks = [self.other.disks[0].replace(
            "cache='writeback'", "cache='unsafe'")]
        proof = self.closed()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn(self.other.instance, proof.reason)

    def test_one_that_is_suspended_makes_it_crash(self) -> None:
        self.other.suspend_to_disk()
        proof = self.closed()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn(f'{self.other.instance} does not run (it is suspended',
                      proof.reason)
        self.assertFalse(self.opened.exempt)
        self.assertIsNone(self.guardian.holder)

    def test_one_that_is_suspended_beside_one_that_is_shut_off(self) -> None:
        self.other.suspend_to_disk()
        self.domain.state_now = libvirt.VIR_DOMAIN_SHUTOFF
        self.assertEqual(Level.CRASH, self.closed().level)
        self.assertFalse(self.opened.exempt)

    def test_they_are_taken_in_a_fixed_order(self) -> None:
        order = []
        for domain in (self.domain, self.other):
            domain.agent.answers['guest-info'] = (
                lambda guest=domain: order.append(guest.instance)
                or guest.agent.guest_info())
        self.closed()
        self.assertEqual(sorted(order), order)

    def test_an_unexpected_error_of_one_releases_the_other(self) -> None:
        self.domain.disks = ['<disk']
        self.closed()
        self.assertIsNone(self.other.agent.guardian.holder)

    def recover(self) -> None:
        windows.recover(self.targets, base.TOKEN, False, base.settings(),
                        process.lock)

    def test_left_open_all_are_put_back(self) -> None:
        for domain in (self.domain, self.other):
            domain.agent.guardian.holder = base.TOKEN
        self.recover()
        self.assertIsNone(self.guardian.holder)
        self.assertIsNone(self.other.agent.guardian.holder)

    def test_left_open_an_unreachable_one_does_not_hide_the_other(self
                                                                  ) -> None:
        self.other.agent.guardian.holder = base.TOKEN
        self.domain.channel = ''
        error = self.assertRaises(exceptions.WriteThroughError, self.recover)
        self.assertIn(self.domain.instance, str(error))
        self.assertIsNone(self.other.agent.guardian.holder)


class AbandonTest(base.WindowTestCase):

    def recover(self, frozen: bool = False, **values: Any) -> None:
        windows.recover([self.target()], base.TOKEN, frozen,
                        base.settings(**values), process.lock)

    def test_a_frozen_guest_is_thawed_before_all(self) -> None:
        self.domain.agent.frozen = ['/mnt']
        self.guardian.holder = base.TOKEN
        self.recover(frozen=True)
        self.assertEqual([], self.domain.agent.frozen)
        self.assertIsNone(self.guardian.holder)

    def test_also_where_guest_exec_is_blocked(self) -> None:
        self.domain.agent.blocked = {fake.EXEC, fake.STATUS}
        self.domain.agent.frozen = ['/mnt']
        self.recover(frozen=True)
        self.assertEqual([], self.domain.agent.frozen)

    def test_somebody_elses_freeze_is_left_alone_and_told(self) -> None:
        self.domain.agent.frozen = ['/mnt']
        self.guardian.holder = base.TOKEN
        error = self.assertRaises(exceptions.WriteThroughError, self.recover)
        self.assertIn('frozen by somebody else', str(error))
        self.assertEqual(['/mnt'], self.domain.agent.frozen)

    def test_also_after_the_methods_were_switched_off(self) -> None:
        self.guardian.holder = base.TOKEN
        self.recover(methods=[])
        self.assertIsNone(self.guardian.holder)

    def test_another_window_is_left_alone(self) -> None:
        self.guardian.holder = 'cafe'
        self.recover()
        self.assertEqual('cafe', self.guardian.holder)

    def test_nothing_may_be_left(self) -> None:
        self.recover()
        self.assertNotIn(fake.THAW, self.domain.agent.commands)

    def test_one_whose_flushes_are_ignored_is_put_back(self) -> None:
        self.domain.disks = [self.domain.disks[0].replace(
            "cache='writeback'", "cache='unsafe'")]
        self.guardian.holder = base.TOKEN
        self.recover()
        self.assertIsNone(self.guardian.holder)

    def test_a_guest_that_is_shut_off_forgot_everything(self) -> None:
        self.domain.state_now = libvirt.VIR_DOMAIN_SHUTOFF
        self.recover()

    def test_a_guest_that_crashed_forgot_everything(self) -> None:
        self.domain.state_now = libvirt.VIR_DOMAIN_SHUTOFF
        self.domain.reason = libvirt.VIR_DOMAIN_SHUTOFF_CRASHED
        self.recover()

    def test_a_guest_that_is_suspended_forgot_nothing(self) -> None:
        self.domain.suspend_to_disk()
        self.assertRaises(exceptions.WriteThroughError, self.recover)

    def test_a_guest_that_is_paused_forgot_nothing(self) -> None:
        self.domain.state_now = libvirt.VIR_DOMAIN_PAUSED
        self.assertRaises(exceptions.WriteThroughError, self.recover)
