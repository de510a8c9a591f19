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

import fixtures

from cinder_wt_backup import exceptions
from cinder_wt_backup.window.methods import bounded_freeze
from tests.unit import base
from tests.unit.fixtures import agent as fake


def silent(**_arguments: Any) -> None:
    raise fake.Silent


class BoundedFreezeTest(base.GuestTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.frozen = bounded_freeze.BoundedFreeze(self.reached(), 30)

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
        self.frozen = bounded_freeze.BoundedFreeze(self.reached(), 0.05)

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

    def test_an_agent_that_was_silent_is_told_without_a_release(self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.window.methods.bounded_freeze.THAW_AGAIN', 0.02))
        self.domain.agent.answers[fake.THAW] = silent
        self.frozen.freeze(['/mnt'])
        self.wait_for(lambda: 'virsh domfsthaw' in self.log.output)
        del self.domain.agent.answers[fake.THAW]
        self.wait_for(lambda: not self.domain.agent.frozen)

    def test_nothing_is_told_once_the_window_has_ended(self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.window.methods.bounded_freeze.THAW_AGAIN', 0.02))
        self.domain.agent.answers[fake.THAW] = silent
        self.frozen.freeze(['/mnt'])
        self.wait_for(lambda: 'virsh domfsthaw' in self.log.output)
        self.assertRaises(exceptions.AgentError, self.frozen.thaw)
        time.sleep(0.1)         # for what was under way
        told = self.domain.agent.commands.count(fake.THAW)
        time.sleep(0.3)
        self.assertEqual(told, self.domain.agent.commands.count(fake.THAW))
