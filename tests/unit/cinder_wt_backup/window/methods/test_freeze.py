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

import ddt
import fixtures

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.window.methods import freeze
from tests.unit import base
from tests.unit.fixtures import agent as fake

Level = claims.Level


def silent(**_arguments: Any) -> None:
    raise fake.Silent


class FrozenTest(base.GuestTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.frozen = freeze.Frozen(self.reached(), 30)

    def fail_once(self, command: str, later: Any = None) -> None:
        """Have one command time out; ``later`` happens in the guest."""
        def fail(**_arguments: Any) -> None:
            del self.domain.agent.answers[command]
            if later:
                later()
            raise fake.Silent
        self.domain.agent.answers[command] = fail

    def test_it_holds_until_it_is_thawed(self) -> None:
        self.frozen.freeze(['/mnt'])
        self.assertEqual(['/mnt'], self.domain.agent.frozen)
        time.sleep(0.01)
        self.assertTrue(self.frozen.thaw())
        self.assertEqual([], self.domain.agent.frozen)
        self.assertGreaterEqual(self.frozen.milliseconds, 10)

    def test_thawing_twice_is_harmless(self) -> None:
        self.frozen.freeze(['/mnt'])
        self.frozen.thaw()
        self.assertFalse(self.frozen.thaw())
        self.assertEqual(1, self.domain.agent.commands.count(fake.THAW))

    def test_what_somebody_else_froze_is_left_alone(self) -> None:
        self.domain.agent.frozen = ['/srv']
        self.assertRaises(exceptions.AgentError, self.frozen.freeze, ['/mnt'])
        self.assertFalse(self.frozen.thaw())
        self.assertEqual(['/srv'], self.domain.agent.frozen)

    def test_a_freeze_that_came_first_is_left_alone(self) -> None:
        def refuse(mountpoints: list[str]) -> None:
            self.domain.agent.frozen = ['/srv']
            raise fake.Refused('guest-fsfreeze-freeze-list has been disabled')
        self.domain.agent.answers[fake.FREEZE] = refuse
        self.assertRaises(exceptions.GuestFrozen, self.frozen.freeze, ['/mnt'])
        self.assertFalse(self.frozen.thaw())
        self.assertEqual(['/srv'], self.domain.agent.frozen)

    def test_all_or_none(self) -> None:
        error = self.assertRaises(exceptions.AgentError, self.frozen.freeze,
                                  ['/mnt', '/not-a-mount'])
        self.assertIn('1 of 2', str(error))
        self.assertEqual([], self.domain.agent.frozen)
        self.assertFalse(self.frozen.thaw())

    def test_none_frozen_is_no_freeze(self) -> None:
        self.domain.agent.answers[fake.FREEZE] = lambda mountpoints: 0
        self.assertRaises(exceptions.AgentError, self.frozen.freeze, ['/mnt'])
        self.assertFalse(self.frozen.thaw())
        # It would end a freeze that the agent knows nothing of.
        self.assertNotIn(fake.THAW, self.domain.agent.commands)

    def test_a_freeze_lost_meanwhile_did_not_hold(self) -> None:
        self.frozen.freeze(['/mnt'])
        self.domain.agent.thaw_by_itself()
        self.assertFalse(self.frozen.thaw())
        self.assertIn('0 of 1', self.frozen.problem)

    def test_a_freeze_that_came_late_is_thawed(self) -> None:
        self.fail_once(fake.FREEZE, lambda: self.domain.agent.frozen.append(
            '/mnt'))
        self.assertRaises(exceptions.AgentUnavailable, self.frozen.freeze,
                          ['/mnt'])
        self.assertEqual([], self.domain.agent.frozen)

    def test_a_late_freeze_that_cannot_be_thawed_is_at_the_end(self) -> None:
        self.fail_once(fake.FREEZE, lambda: self.domain.agent.frozen.append(
            '/mnt'))
        self.fail_once(fake.THAW)
        self.assertRaises(exceptions.AgentUnavailable, self.frozen.freeze,
                          ['/mnt'])
        self.assertFalse(self.frozen.thaw())
        self.assertEqual([], self.domain.agent.frozen)

    def test_a_hook_that_fails_after_the_thaw(self) -> None:
        self.frozen.freeze(['/mnt'])
        self.domain.agent.answers[fake.THAW] = self._thaw_with_bad_hook
        self.assertFalse(self.frozen.thaw())
        self.assertIn('hook has failed', self.frozen.problem)
        self.assertFalse(self.frozen.thaw())

    def test_hooks_that_fail_before_the_freeze(self) -> None:
        def refuse(mountpoints: list[str]) -> None:
            raise fake.Refused('fsfreeze hook has failed with status 1')
        self.domain.agent.answers[fake.FREEZE] = refuse
        self.domain.agent.answers[fake.THAW] = self._thaw_with_bad_hook
        error = self.assertRaises(exceptions.AgentError, self.frozen.freeze,
                                  ['/mnt'])
        self.assertIn('hook has failed', str(error))
        # There is nothing left to thaw.
        self.assertFalse(self.frozen.thaw())

    def test_a_thaw_that_did_nothing_is_tried_again(self) -> None:
        def refuse() -> None:
            raise fake.Refused('no memory')
        self.frozen.freeze(['/mnt'])
        self.domain.agent.answers[fake.THAW] = refuse
        self.assertRaises(exceptions.AgentError, self.frozen.thaw)
        del self.domain.agent.answers[fake.THAW]
        self.assertTrue(self.frozen.thaw())

    def _thaw_with_bad_hook(self) -> None:
        self.domain.agent.guest_fsfreeze_thaw()
        raise fake.Refused('fsfreeze hook has failed with status 1')

    def test_a_thaw_that_failed_is_tried_again(self) -> None:
        self.frozen.freeze(['/mnt'])
        self.fail_once(fake.THAW)
        self.assertRaises(exceptions.AgentUnavailable, self.frozen.thaw)
        self.assertTrue(self.frozen.thaw())
        self.assertEqual([], self.domain.agent.frozen)


class TimeoutTest(base.GuestTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger())
        self.frozen = freeze.Frozen(self.reached(), 0.05)

    def wait_for(self, done: Any) -> None:
        deadline = time.monotonic() + 10
        while not done():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_a_freeze_ends_by_itself(self) -> None:
        self.frozen.freeze(['/mnt'])
        self.wait_for(lambda: self.frozen.problem)
        self.assertEqual([], self.domain.agent.frozen)
        self.assertFalse(self.frozen.thaw())
        self.assertIn('freeze_timeout', self.frozen.problem)

    def test_a_release_waits_for_a_thaw_that_is_under_way(self) -> None:
        began, go_on = threading.Event(), threading.Event()

        def slow() -> int:
            began.set()
            while not go_on.is_set():
                time.sleep(0.01)
            del self.domain.agent.answers[fake.THAW]
            return self.domain.agent.guest_fsfreeze_thaw()
        self.domain.agent.answers[fake.THAW] = slow
        self.frozen.freeze(['/mnt'])
        self.wait_for(began.is_set)
        threading.Timer(0.1, go_on.set).start()
        self.assertFalse(self.frozen.thaw())
        self.assertEqual([], self.domain.agent.frozen)

    def test_a_guest_that_does_not_thaw_is_told_and_tried_again(self) -> None:
        self.domain.agent.answers[fake.THAW] = silent
        self.frozen.freeze(['/mnt'])
        self.wait_for(lambda: 'virsh domfsthaw' in self.log.output)
        del self.domain.agent.answers[fake.THAW]
        self.frozen.thaw()
        self.assertEqual([], self.domain.agent.frozen)


@ddt.ddt
class FreezeTest(base.GuestTestCase):

    def method(self, **options: Any) -> freeze.Freeze:
        return freeze.Freeze(self.reached(), base.TOKEN,
                             base.settings(**options))

    def test_it_needs_no_guest_exec(self) -> None:
        self.domain.agent.blocked = {fake.EXEC, fake.STATUS}
        self.method().check()

    @ddt.data(fake.FREEZE, fake.THAW, fake.FREEZE_STATUS, fake.FSINFO)
    def test_it_needs_all_that_freezing_takes(self, command: str) -> None:
        self.domain.agent.blocked = {command}
        error = self.assertRaises(exceptions.CommandBlocked,
                                  self.method().check)
        self.assertIn(command, str(error))

    def test_the_operator_may_forbid_it(self) -> None:
        self.domain.agent.blocked = {fake.EXEC}
        error = self.assertRaises(
            exceptions.CommandBlocked,
            self.method(freeze_without_lease=False).check)
        self.assertIn('freeze_without_lease', str(error))

    def test_a_freeze_that_held_is_as_good_as_unmounted(self) -> None:
        self.domain.agent.mounts = [
            fake.mount('/', 'vda1', slot=3), fake.mount('/mnt', 'vdb1'),
            fake.mount('/srv', 'vdb2', 'xfs')]
        method = self.method()
        method.engage()
        self.assertEqual(['/mnt', '/srv'], self.domain.agent.frozen)
        proof = method.release()
        self.assertEqual((Level.FILESYSTEM, '', 'freeze'),
                         (proof.level, proof.reason, proof.method))
        self.assertEqual({'ext4': 1, 'xfs': 1}, proof.filesystems)

    def test_a_freeze_that_did_not_hold_has_only_flushed(self) -> None:
        method = self.method()
        method.engage()
        self.domain.agent.thaw_by_itself()
        proof = method.release()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('0 of 1', proof.reason)

    def test_a_volume_without_filesystem_cannot_be_frozen(self) -> None:
        self.domain.agent.mounts = []
        method = self.method()
        self.assertRaises(exceptions.AgentError, method.engage)
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_a_mount_made_meanwhile_was_not_frozen(self) -> None:
        method = self.method()
        method.engage()
        self.domain.agent.mounts.append(fake.mount('/srv', 'vdb2'))
        proof = method.release()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('mounted or unmounted', proof.reason)

    def boot_volume(self, *others: dict[str, Any]) -> freeze.Freeze:
        self.domain.agent.mounts = [
            fake.mount('/', 'vdb2', 'xfs'),
            fake.mount('/boot/efi', 'vdb1', 'vfat'), *others]
        return self.method()

    def test_a_boot_volume_with_its_efi_partition(self) -> None:
        method = self.boot_volume()
        method.engage()
        self.assertEqual(['/'], self.domain.agent.frozen)
        proof = method.release()
        self.assertEqual(
            (Level.FILESYSTEM, 'the EFI system partition at /boot/efi is not '
             'covered', {'xfs': 1}),
            (proof.level, proof.reason, proof.filesystems))

    def test_an_automount_of_it_is_no_change(self) -> None:
        method = self.boot_volume()
        method.engage()
        del self.domain.agent.mounts[1]
        self.assertEqual(Level.FILESYSTEM, method.release().level)

    def test_what_else_cannot_be_frozen_was_not_flushed(self) -> None:
        method = self.boot_volume(fake.mount('/data', 'vdb3', 'vfat'))
        method.engage()
        self.assertEqual(['/'], self.domain.agent.frozen)
        proof = method.release()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('vfat can neither be frozen', proof.reason)

    def test_where_nothing_can_be_frozen_that_is_said(self) -> None:
        self.domain.agent.mounts = [fake.mount('/data', 'vdb1', 'vfat')]
        error = self.assertRaises(exceptions.AgentError, self.method().engage)
        self.assertIn('can be frozen: vfat', str(error))
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_nothing_but_the_freeze_is_to_be_put_back(self) -> None:
        self.domain.agent.blocked = {fake.EXEC}
        self.method().recover()
        self.assertEqual(['guest-info'], self.domain.agent.commands)


class LeaseTest(base.GuestTestCase):
    """Of a freeze in a guest that runs programs, though not in Python."""

    def method(self, **values: Any) -> freeze.Freeze:
        return freeze.Freeze(self.reached(), base.TOKEN,
                             base.settings(**values))

    def test_it_is_there_while_the_guest_is_frozen(self) -> None:
        self.domain.agent.mounts = [fake.mount('/mnt', 'vdb1'),
                                    fake.mount('/srv', 'vdb2', 'xfs')]
        method = self.method(agent_timeout=2, freeze_timeout=4)
        method.check()
        method.engage()
        self.assertEqual(['8', 'vdb1', 'vdb2'],
                         self.guardian.leases[base.TOKEN])
        self.assertEqual(Level.FILESYSTEM, method.release().level)
        self.assertEqual({}, self.guardian.leases)

    def test_it_ends_with_a_freeze_that_expired(self) -> None:
        method = self.method(freeze_timeout=1)
        method.engage()
        time.sleep(1.3)
        self.assertEqual({}, self.guardian.leases)
        self.assertEqual(Level.FLUSHED, method.release().level)

    def test_where_there_is_none_the_operator_decides(self) -> None:
        self.guardian.lease_status = 1
        method = self.method(freeze_without_lease=False)
        method.check()
        self.assertRaises(exceptions.CommandBlocked, method.engage)
        self.assertEqual([], self.domain.agent.frozen)
        self.method().engage()
        self.assertEqual(['/mnt'], self.domain.agent.frozen)

    def test_a_strange_name_gets_none(self) -> None:
        self.domain.agent.mounts = [fake.mount('/mnt', 'vdb1; reboot')]
        self.method().engage()
        self.assertEqual({}, self.guardian.leases)

    def test_what_a_host_that_is_gone_left_is_removed(self) -> None:
        self.method().engage()
        self.domain.agent.frozen = []
        self.method().recover()
        self.assertEqual({}, self.guardian.leases)
