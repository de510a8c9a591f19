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

from cinder import coordination
import ddt
import fixtures
import libvirt

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.guest import reach
from cinder_wt_backup.service import process
from cinder_wt_backup.window import volume as windows
from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import libvirt as hosts

Level = claims.Level
EXEC = {fake.EXEC, fake.STATUS}


def nobody(domain: hosts.Domain) -> None:
    domain.channel = ''


def not_running(domain: hosts.Domain) -> None:
    domain.channel = 'disconnected'


def silent(domain: hosts.Domain) -> None:
    def answer() -> None:
        raise fake.Silent
    domain.agent.answers['guest-info'] = answer


def garbage(domain: hosts.Domain) -> None:
    domain.agent.answers['guest-info'] = lambda: fake.Raw('hello')


def paused(domain: hosts.Domain) -> None:
    domain.state_now = libvirt.VIR_DOMAIN_PAUSED


def other_project(domain: hosts.Domain) -> None:
    domain.project = 'other'


def other_volume(domain: hosts.Domain) -> None:
    domain.disks = []


def other_source(domain: hosts.Domain) -> None:
    domain.disks[0] = domain.disks[0].replace('volumes/', 'images/')


def no_xml(domain: hosts.Domain) -> None:
    domain.disks = ['<disk']


def frozen_by_others(domain: hosts.Domain) -> None:
    domain.agent.frozen = ['/srv']


@ddt.ddt
class UntouchedTest(base.WindowTestCase):
    """A guest of which nothing is known is not touched: stock Cinder."""

    @ddt.data((nobody, 'has no guest agent channel'),
              (not_running, 'no guest agent runs'),
              (silent, 'does not answer'), (garbage, 'no return value'),
              (paused, 'does not run'), (other_project, 'not of the volume'),
              (other_volume, 'has no disk'), (other_source, 'comes from'),
              (no_xml, 'cannot be read'),
              (frozen_by_others, 'frozen by somebody else'))
    @ddt.unpack
    def test_the_reason_is_said(self, spoil: Any, words: str) -> None:
        spoil(self.domain)
        proof = self.proof(agent_timeout=1)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn(words, proof.reason)
        self.assertEqual([], self.guardian.arguments)
        self.assertNotIn(fake.THAW, self.domain.agent.commands)
        self.assertEqual([], self.libvirt.in_use)

    def test_a_silent_agent_is_asked_once(self) -> None:
        silent(self.domain)
        self.proof()
        self.assertEqual(['guest-info'], self.domain.agent.commands)

    @ddt.data({}, {'barrier': 'freeze'}, {'methods': ['freeze']})
    def test_one_whose_flushes_are_ignored(self, how: dict) -> None:
        self.domain.disks = [self.domain.disks[0].replace(
            "cache='writeback'", "cache='unsafe'")]
        proof = self.proof(**how)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('disk_cachemodes', proof.reason)
        self.assertEqual([], self.domain.agent.commands)

    def test_an_unreachable_host_is_said(self) -> None:
        self.libvirt.domains.clear()
        self.assertIn('nothing listens', self.proof().reason)

    def test_an_instance_that_is_shut_off_is_exempt(self) -> None:
        self.domain.state_now = libvirt.VIR_DOMAIN_SHUTOFF
        window = self.window()
        window.open()
        window.close()
        self.assertTrue(window.exempt)


@ddt.ddt
class FallBackTest(base.WindowTestCase):

    def test_a_freeze_that_ends_while_it_is_looked_at_is_none(self) -> None:
        guest = self.domain.agent
        guest.frozen = ['/mnt']
        guest.answers[fake.FREEZE_STATUS] = lambda: (
            'frozen' if guest.guest_fsfreeze_thaw() > 1 else 'thawed')
        proof = self.proof()
        self.assertEqual((Level.WRITE_THROUGH, 'write_through'),
                         (proof.level, proof.method))

    def freeze_before_exec(self, ends: bool) -> None:
        """Have somebody freeze it between a look at it and the start."""
        def refuse(**_arguments: Any) -> None:
            del self.domain.agent.answers[fake.EXEC]
            self.domain.agent.frozen = ['/srv']
            if ends:
                self.domain.agent.answers[fake.FREEZE_STATUS] = frozen_once
            raise fake.Refused('Command guest-exec has been disabled')

        def frozen_once() -> str:
            del self.domain.agent.answers[fake.FREEZE_STATUS]
            self.domain.agent.frozen = []
            return 'frozen'
        self.domain.agent.answers[fake.EXEC] = refuse

    def test_a_freeze_that_begins_then_is_waited_for(self) -> None:
        self.freeze_before_exec(ends=True)
        self.assertEqual('write_through', self.proof().method)

    def test_one_that_lasts_leaves_nothing_to_be_put_back(self) -> None:
        self.freeze_before_exec(ends=False)
        opened = self.window(agent_timeout=1)
        opened.open()
        proof = opened.close()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('frozen by somebody else', proof.reason)
        self.assertFalse(opened.left_changed)
        self.assertEqual(['/srv'], self.domain.agent.frozen)

    def test_where_guest_exec_is_blocked_it_is_frozen(self) -> None:
        self.domain.agent.blocked = EXEC
        proof = self.proof(
            lambda: self.assertEqual(['/mnt'], self.domain.agent.frozen))
        self.assertEqual((Level.FILESYSTEM, 'freeze'),
                         (proof.level, proof.method))
        self.assertEqual([], self.domain.agent.frozen)

    @ddt.data(1, 5, 6, 7, 10, 12)
    def test_where_the_guardian_cannot_start_it_is_frozen(self, status: int
                                                          ) -> None:
        self.guardian.exits['start'] = [status]
        proof = self.proof()
        self.assertEqual((Level.FILESYSTEM, 'freeze'),
                         (proof.level, proof.method))
        self.assertEqual(['start'], self.guardian.commands)

    @ddt.data(1, 5, 6, 7, 12)
    def test_or_nothing_can_be_claimed(self, status: int) -> None:
        self.guardian.exits['start'] = [status]
        self.guardian.reason = 'no room in /run'
        opened = self.window(methods=['write_through'])
        opened.open()
        proof = opened.close()
        self.assertEqual((Level.CRASH, 'none'), (proof.level, proof.method))
        self.assertIn(self.domain.instance, proof.reason)
        self.assertEqual(['start'], self.guardian.commands)
        self.assertFalse(opened.left_changed)

    @ddt.data({'methods': ['write_through']}, {'freeze_without_lease': False})
    def test_without_python_it_was_flushed(self, how: dict[str, Any]) -> None:
        self.guardian.exits['start'] = [10]
        self.guardian.lease_status = 1      # nor fsfreeze(8)
        proof = self.proof(**how)
        self.assertEqual((Level.FLUSHED, 'none'), (proof.level, proof.method))
        self.assertIn('no Python 3.6', proof.reason)
        self.assertEqual(['start'], self.guardian.commands)

    def test_also_where_a_freeze_fails_after_it(self) -> None:
        self.guardian.exits['start'] = [10]
        self.domain.agent.answers[fake.FREEZE] = lambda mountpoints: 0
        self.assertEqual(Level.FLUSHED, self.proof().level)

    @ddt.data(2, 3, 8, 9, 126, 127, 137)
    def test_where_it_ended_otherwise_the_guest_is_released(
            self, status: int) -> None:
        self.guardian.exits['start'] = [status]
        proof = self.proof()
        self.assertEqual((Level.CRASH, 'none'), (proof.level, proof.method))
        self.assertIn(f'status {status}', proof.reason)
        self.assertEqual(['start', 'release'], self.guardian.commands)
        self.assertIsNone(self.guardian.holder)
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    @ddt.data({'version': 2}, {'token': 'cafecafe'}, {'status': 8})
    def test_also_where_its_report_is_of_something_else(
            self, instead: dict[str, Any]) -> None:
        self.guardian.instead['start'] = instead
        self.assertEqual(Level.CRASH, self.proof().level)
        self.assertIsNone(self.guardian.holder)
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    @ddt.data(2, 9, 126, 127, 137)
    def test_where_that_release_fails_it_may_be_changed_still(
            self, status: int) -> None:
        self.guardian.exits.update(start=[status], release=[status])
        window = self.window()
        window.open()
        window.close()
        self.assertTrue(window.left_changed)

    def test_the_operators_order_counts(self) -> None:
        proof = self.proof(methods=['freeze', 'write_through'])
        self.assertEqual('freeze', proof.method)
        self.assertEqual([], self.guardian.commands)

    def test_where_all_is_blocked_every_reason_is_said(self) -> None:
        self.domain.agent.blocked = {*EXEC, fake.FREEZE}
        proof = self.proof()
        self.assertEqual((Level.CRASH, 'none'), (proof.level, proof.method))
        self.assertIn('blocks guest-exec', proof.reason)
        self.assertIn('blocks guest-fsfreeze-freeze-list', proof.reason)

    def test_a_guest_may_block_every_freeze(self) -> None:
        self.domain.agent.blocked = {*EXEC, fake.FREEZE, fake.THAW,
                                     fake.FREEZE_STATUS}
        self.assertIn('blocks guest-exec', self.proof().reason)


class NoExecTest(base.WindowTestCase):
    """The volume's owner permits no programs in his guest."""

    def target(self, **changes: Any) -> reach.Target:
        return super().target(no_exec=True, **changes)

    def recover(self, frozen: bool, **values: Any) -> None:
        windows.recover([self.target()], base.TOKEN, frozen,
                        base.settings(**values), process.lock)

    def no_program(self) -> None:
        self.assertNotIn(fake.EXEC, self.domain.agent.commands)
        self.assertEqual([], self.guardian.arguments)

    def test_it_is_frozen(self) -> None:
        proof = self.proof(
            lambda: self.assertEqual(['/mnt'], self.domain.agent.frozen))
        self.assertEqual((Level.FILESYSTEM, '', 'freeze'),
                         (proof.level, proof.reason, proof.method))
        self.no_program()

    def test_also_if_a_barrier_is_wanted(self) -> None:
        self.assertEqual('freeze', self.proof(barrier='freeze').method)
        self.no_program()

    def test_where_freezing_is_no_method_that_is_said(self) -> None:
        proof = self.proof(methods=['write_through'])
        self.assertEqual((Level.CRASH, 'none'), (proof.level, proof.method))
        self.assertIn('wt:policy', proof.reason)
        self.assertIn(base.VOLUME, proof.reason)
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)
        self.no_program()

    def test_where_it_cannot_be_frozen_nothing_is_run_instead(self) -> None:
        self.domain.agent.blocked = {fake.FREEZE}
        proof = self.proof()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn(f'blocks {fake.FREEZE}', proof.reason)
        self.no_program()

    def test_left_open_it_is_thawed_and_no_more(self) -> None:
        self.domain.agent.frozen = ['/mnt']
        self.recover(frozen=True)
        self.assertEqual([], self.domain.agent.frozen)
        self.no_program()

    def test_left_open_before_he_forbade_it_its_lease_sees_to_it(self
                                                                 ) -> None:
        self.guardian.holder = base.TOKEN
        self.recover(frozen=False, methods=['write_through'])
        self.no_program()


class LockTest(base.WindowTestCase):
    """Windows in one instance, of this volume or another, take turns."""

    def test_the_other_window_is_waited_for(self) -> None:
        first, second = self.window(), self.window()
        first.open()
        opener = threading.Thread(target=second.open)
        opener.start()
        time.sleep(0.1)
        self.assertEqual(1, len(self.guardian.arguments))
        first.close()
        opener.join()
        self.assertEqual('start', self.guardian.commands[-1])
        second.close()
        self.assertIsNone(self.guardian.holder)

    def test_but_not_for_ever(self) -> None:
        first = self.window()
        first.open()
        self.addCleanup(first.close)
        second = self.window(lock_timeout=1)
        second.open()
        proof = second.close()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('lock_timeout = 1 s', proof.reason)

    def test_one_that_is_shut_off_lets_go_too(self) -> None:
        self.domain.state_now = libvirt.VIR_DOMAIN_SHUTOFF
        first = self.window()
        first.open()
        first.close()
        lock = coordination.COORDINATOR.get_lock(
            process.LOCK % self.domain.instance)
        self.assertTrue(lock.acquire(blocking=False))
        lock.release()
        self.assertEqual([], self.libvirt.in_use)

    def test_a_lock_that_cannot_be_let_go_fails_nothing(self) -> None:
        window = self.window()
        window.open()
        self.useFixture(fixtures.MonkeyPatch(
            'tooz.drivers.file.FileLock.release', self.fail))
        self.assertEqual(Level.FLUSHED, window.close().level)
        self.assertIn('was not released', self.log.output)


@ddt.ddt
class ReleaseTest(base.WindowTestCase):

    def fail_once(self, command: str) -> None:
        def fail(**_arguments: Any) -> None:
            del self.domain.agent.answers[command]
            raise fake.Silent
        self.domain.agent.answers[command] = fail

    def test_an_agent_that_misses_a_message_is_asked_again(self) -> None:
        self.proof(lambda: self.fail_once(fake.EXEC))
        self.assertIsNone(self.guardian.holder)

    def test_one_that_a_host_froze_for_a_moment_is_asked_again(self) -> None:
        def freeze() -> None:
            self.domain.agent.frozen = ['/srv']
            threading.Timer(0.3, self.domain.agent.frozen.clear).start()
        proof = self.proof(freeze)
        self.assertEqual(Level.WRITE_THROUGH, proof.level, proof)
        self.assertIsNone(self.guardian.holder)

    def test_a_window_that_may_have_opened_is_released(self) -> None:
        self.fail_once(fake.STATUS)
        window = self.window()
        window.open()
        window.close()
        self.assertEqual(['start', 'release'],
                         self.guardian.commands)
        self.assertIsNone(self.guardian.holder)
        self.assertFalse(window.left_changed)

    def test_a_guest_that_is_not_put_back_is_left_changed(self) -> None:
        window = self.window()
        window.open()
        self.guardian.exits['release'] = [1]
        window.close()
        self.assertTrue(window.left_changed)
        self.assertIn('could not be put back', self.log.output)

    def test_a_late_freeze_that_cannot_be_thawed_is_left_changed(self
                                                                 ) -> None:
        def late(mountpoints: list[str]) -> None:
            self.domain.agent.frozen = mountpoints
            raise fake.Silent

        def gone() -> None:
            raise fake.Silent
        self.domain.agent.answers = {fake.FREEZE: late, fake.THAW: gone}
        window = self.window(methods=['freeze'])
        window.open()
        window.close()
        self.assertTrue(window.left_changed)

    def test_what_is_to_be_done_about_a_frozen_one_is_said(self) -> None:
        def gone() -> None:
            raise fake.Silent
        window = self.window(methods=['freeze'], agent_timeout=1)
        window.open()
        self.domain.agent.answers = {fake.THAW: gone}
        window.close()
        self.assertTrue(window.left_changed)
        self.assertIn('virsh domfsthaw', self.log.output)
        self.assertNotIn('lease', self.log.output)

    def test_a_guest_that_was_not_touched_is_not(self) -> None:
        silent(self.domain)
        window = self.window()
        window.open()
        window.close()
        self.assertFalse(window.left_changed)

    @ddt.data(set(), EXEC)
    def test_another_hosts_freeze_is_waited_for(self, blocked: set[str]
                                                ) -> None:
        self.domain.agent.blocked = blocked
        self.domain.agent.frozen = ['/srv']
        threading.Timer(0.3, self.domain.agent.frozen.clear).start()
        proof = self.proof()
        self.assertGreaterEqual(proof.level, Level.WRITE_THROUGH, proof)
        self.assertEqual([], self.domain.agent.frozen)

    def test_a_guest_that_was_busy_is_asked_again(self) -> None:
        self.guardian.exits['start'] = [4, 4]
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)
