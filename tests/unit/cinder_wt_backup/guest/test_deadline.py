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

import time

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import deadline
from cinder_wt_backup.guest import reach
from tests.unit import base
from tests.unit.fixtures import agent as fake

ABOUT = 'instance x to be put back'


class DeadlineTest(base.TestCase):

    def test_a_call_may_take_what_is_left(self) -> None:
        end = deadline.Deadline(5, ABOUT)
        self.assertEqual(3, end.limit(3))
        self.assertTrue(4 < end.limit(10) <= 5)

    def test_after_it_nothing_is_begun(self) -> None:
        end = deadline.Deadline(0.01, ABOUT)
        time.sleep(0.02)
        self.assertEqual(0, end.left)
        error = self.assertRaises(exceptions.TooLate, end.limit, 10)
        self.assertIn(ABOUT, str(error))

    def test_never_takes_nothing_away(self) -> None:
        self.assertEqual(3600, deadline.NEVER.limit(3600))


class GuestTest(base.GuestTestCase):
    """Each answer comes in time, and all of them together do not."""

    def slow(self, *commands: str) -> None:
        for name in commands:
            answer = getattr(self.domain.agent, name.replace('-', '_'))

            def late(answer: object = answer, **arguments: object) -> object:
                time.sleep(0.4)
                return answer(**arguments)      # type: ignore[operator]
            self.domain.agent.answers[name] = late

    def test_its_answers_share_one_deadline(self) -> None:
        self.slow('guest-info', 'guest-get-fsinfo')
        end = deadline.Deadline(0.5, ABOUT)
        with reach.connect(self.target(), 5, end) as guest:
            guest.require(fake.EXEC)
            guest.mounts()
            self.assertRaises(exceptions.TooLate, guest.mounts)
            # What ends a freeze is asked all the same.
            self.assertFalse(guest.agent.is_frozen(undoing=True))
            self.assertEqual(0, guest.agent.thaw())
        self.assertEqual(['guest-info', 'guest-get-fsinfo', fake.FREEZE_STATUS,
                          fake.THAW], self.domain.agent.commands)

    def test_so_do_its_hosts(self) -> None:
        self.libvirt.hang = 0.4
        end = deadline.Deadline(0.3, ABOUT)
        error = self.assertRaises(
            exceptions.HostUnreachable,
            reach.connect(self.target(), 5, end).__enter__)
        self.assertIn('did not answer within', str(error))
