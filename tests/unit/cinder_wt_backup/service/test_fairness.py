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

from cinder_wt_backup.service import backends
from cinder_wt_backup.service import fairness
from tests.support import bounded
from tests.support import tenants
from tests.unit import base

SLOW = 30
State = fairness.State


class FairnessTestCase(bounded.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.fair = fairness.Fairness(8, SLOW)
        self.now = 0.0
        self.number = 0

    def ask(self, project: str = 'a', host: str = 'one',
            instance: str = '', backend: str = '') -> fairness.Turn:
        """Ask for a window; on a back end of its own, if none is named."""
        self.number += 1
        turn = self.fair.ask(fairness.Wish(
            project, frozenset({instance or f'instance {self.number}'}),
            frozenset({host}), backend or f'back end {self.number}'),
            self.now)
        self.fair.give(self.now)
        return turn

    def fill(self, project: str = 'a') -> list[fairness.Turn]:
        """Have a project take what it can get."""
        turns = [self.ask(project, f'host {number}') for number in range(8)]
        for turn in turns[6:]:
            self.fair.leave(turn, self.now)
        return turns[:6]

    def leave(self, turn: fairness.Turn, after: float = 1) -> None:
        """Have its guests take so long to open, and then be done."""
        self.now += after
        self.fair.leave(turn, self.now)
        self.fair.give(self.now)


class SharesTest(FairnessTestCase):

    def test_the_last_quarter_is_for_projects_that_have_none(self) -> None:
        opened = self.fill('a')
        self.assertEqual({State.OPENING}, {turn.state for turn in opened})
        self.assertEqual(State.WAITING, self.ask('a').state)
        self.assertEqual(State.OPENING, self.ask('b').state)
        self.assertEqual(State.WAITING, self.ask('b').state)
        self.assertEqual(State.OPENING, self.ask('c').state)
        self.assertEqual(State.WAITING, self.ask('d').state)

    def test_and_not_for_a_host_that_has_half_of_all(self) -> None:
        for project in 'abcdef':
            self.ask(project, 'one')
        self.assertEqual(State.WAITING, self.ask('g', 'one').state)
        self.assertEqual(State.OPENING, self.ask('h', 'two').state)

    def test_next_is_whose_project_has_fewest(self) -> None:
        opened = [*self.fill('a'), self.ask('b'), self.ask('c')]
        second, first = self.ask('b'), self.ask('d')
        self.leave(opened[0])
        self.assertEqual([State.WAITING, State.OPENING],
                         [second.state, first.state])

    def test_then_who_came_first(self) -> None:
        opened = [self.ask('a') for _ in range(6)]
        waiting = [self.ask('a') for _ in range(2)]
        self.leave(opened[0])
        self.assertEqual([State.OPENING, State.WAITING],
                         [turn.state for turn in waiting])

    def test_an_instance_has_one_window_at_a_time(self) -> None:
        first = self.ask(instance='its')
        second = self.ask(instance='its')
        self.assertEqual(State.WAITING, second.state)
        self.leave(first)
        self.assertEqual(State.OPENING, second.state)

    def test_who_waits_no_more_makes_no_difference(self) -> None:
        opened = self.fill('a')
        gone, waits = self.ask('a'), self.ask('a')
        self.leave(gone)
        for turn in opened:
            self.leave(turn)
        self.assertEqual((State.GONE, State.OPENING),
                         (gone.state, waits.state))

    def test_of_too_many_the_last_of_the_largest_project_goes(self) -> None:
        self.fill('a')
        self.patch('MOST_WAITING', 2)
        waiting = [self.ask('a') for _ in range(2)]
        other = self.ask('b', instance='instance 1')
        self.assertIn('most of them of its project', waiting[1].refused)
        self.assertEqual(['', ''], [waiting[0].refused, other.refused])

    def patch(self, name: str, value: int) -> None:
        before = getattr(fairness, name)
        setattr(fairness, name, value)
        self.addCleanup(setattr, fairness, name, before)


class ObstacleTest(FairnessTestCase):
    """Why somebody waits, for who reads the log."""

    def assert_obstacle(self, expected: fairness.Obstacle,
                        turn: fairness.Turn) -> None:
        self.assertEqual(State.WAITING, turn.state)
        self.assertIs(expected, self.fair.obstacle(turn, self.now))

    def test_its_instance_has_one(self) -> None:
        self.ask(instance='its')
        self.assert_obstacle(fairness.Obstacle.INSTANCE,
                             self.ask(instance='its'))

    def test_all_are_open(self) -> None:
        self.fill('a')
        self.ask('b')
        self.ask('c')
        self.assert_obstacle(fairness.Obstacle.FULL, self.ask('d'))

    def test_the_last_are_for_others(self) -> None:
        self.fill('a')
        self.assert_obstacle(fairness.Obstacle.RESERVED, self.ask('a'))

    def test_its_back_end_is_busy(self) -> None:
        self.ask('a', backend='ceph')
        self.assert_obstacle(fairness.Obstacle.BACKEND,
                             self.ask('b', backend='ceph'))

    def test_another_slow_one_has_one(self) -> None:
        slow = [f'slow {number}' for number in range(3)]
        for instance in slow:
            self.leave(self.ask(instance=instance), after=SLOW + 1)
        *_, last = [self.ask(f'project {instance}', f'host {instance}',
                             instance=instance) for instance in slow]
        self.assert_obstacle(fairness.Obstacle.SLOW, last)


class SlowTest(FairnessTestCase):
    """Instances whose guests took long, one way or another."""

    def test_they_come_after_all_others(self) -> None:
        self.leave(self.ask(instance='slow'), after=SLOW + 1)
        opened = self.fill('a')
        slow = self.ask('b', instance='slow')
        other = self.ask('a')
        self.leave(opened[0])
        self.assertEqual([State.WAITING, State.OPENING],
                         [slow.state, other.state])

    def test_a_slow_back_end_makes_no_guest_slow(self) -> None:
        turn = self.ask(instance='its')
        self.fair.note_cast(turn, self.now)
        self.now += SLOW + 1
        self.fair.note_passed(turn, self.now, fairness.Seen.MADE)
        self.leave(turn)
        opened = self.fill('a')
        first, second = self.ask('a', instance='its'), self.ask('a')
        self.leave(opened[0])
        self.assertEqual([State.OPENING, State.WAITING],
                         [first.state, second.state])

    def test_they_have_no_more_than_a_quarter(self) -> None:
        for number in range(4):
            self.leave(self.ask(instance=f'slow {number}'), after=SLOW + 1)
        turns = [self.ask(f'{number}', instance=f'slow {number}')
                 for number in range(4)]
        self.assertEqual(2, sum(turn.state is State.OPENING
                                for turn in turns))

    def test_it_is_forgotten_after_some_minutes(self) -> None:
        self.leave(self.ask(instance='slow'), after=SLOW + 1)
        self.now += fairness.PASSED_OVER + 1
        opened = self.fill('a')
        slow, other = self.ask('a', instance='slow'), self.ask('a')
        self.leave(opened[0])
        self.assertEqual([State.OPENING, State.WAITING],
                         [slow.state, other.state])


class BackendTest(FairnessTestCase):
    """How many snapshots at once a back end is asked for."""

    def make(self, *seconds: float) -> None:
        """Have snapshots made side by side that take so long."""
        turns = [self.ask(f'{number}', f'host {number}', backend='ceph')
                 for number, _ in enumerate(seconds)]
        for turn in turns:
            # What is got ready while others are made counts as well.
            self.fair.give(self.now)
            self.assertEqual(State.OPENING, turn.state)
            self.fair.note_cast(turn, self.now)
        began = self.now
        for turn, took in sorted(zip(turns, seconds), key=lambda one: one[1]):
            self.now = began + took
            self.fair.note_passed(turn, self.now, fairness.Seen.MADE)
            self.fair.leave(turn, self.now)

    def stands(self) -> int:
        """Return how many it is asked for at once now."""
        turns = [self.ask(f'{number}', f'host {number}', backend='ceph')
                 for number in range(8)]
        opened = sum(turn.state is State.OPENING for turn in turns)
        for turn in reversed(turns):
            self.fair.leave(turn, self.now)
        return opened

    def test_one_at_first(self) -> None:
        self.assertEqual(1, self.stands())

    def test_more_as_long_as_they_take_no_longer(self) -> None:
        self.make(1)
        for _ in range(2):
            self.make(1, 1.1)
        self.make(1, 1, 1.2)
        self.assertEqual(4, self.stands())

    def test_one_that_is_late_for_any_reason_changes_nothing(self) -> None:
        self.make(1)
        self.make(1, 1.1)
        self.make(1, 9)
        self.assertEqual(3, self.stands())

    def test_fewer_where_they_wait_for_each_other(self) -> None:
        self.make(1)
        for _ in range(2):
            self.make(2, 2)
        self.assertEqual(1, self.stands())
        self.make(1)
        self.assertEqual(1, self.stands())

    def test_it_is_asked_for_more_again_later(self) -> None:
        self.make(1)
        for _ in range(2):
            self.make(2, 2)
        self.now += backends.ASK_AGAIN + 1
        self.make(1)
        self.assertEqual(2, self.stands())

    def test_a_first_one_that_was_slow_is_not_taken_for_usual(self) -> None:
        self.make(30)       # it was busy with something else
        for _ in range(2):
            self.make(2, 2)
        self.make(3, 3, 3)
        self.assertEqual(2, self.stands())

    def test_where_all_are_late_nothing_is_gained_by_waiting(self) -> None:
        turn = self.ask(backend='ceph')
        self.fair.note_cast(turn, self.now)
        self.fair.note_passed(turn, self.now + 60, fairness.Seen.LATE)
        self.fair.leave(turn, self.now + 60)
        self.assertEqual(2, self.stands())

    def test_once_it_is_in_time_again_it_is_learnt_anew(self) -> None:
        for _ in range(5):
            turn = self.ask(backend='ceph')
            self.fair.note_cast(turn, self.now)
            self.fair.note_passed(turn, self.now + 60, fairness.Seen.LATE)
            self.fair.leave(turn, self.now + 60)
        self.assertEqual(6, self.stands())
        self.make(9, 9)
        self.assertEqual(1, self.stands())

    def test_what_no_guest_waits_for_takes_its_time_there_too(self) -> None:
        self.make(1)
        turn = self.ask(backend='ceph')
        self.fair.note_cast(turn, self.now)
        self.fair.note_passed(turn, self.now, fairness.Seen.UNWATCHED)
        self.fair.leave(turn, self.now)
        # Of two at a time, each takes a second.
        self.assertEqual(0, self.stands())
        self.now += 0.6
        self.assertEqual(2, self.stands())

    def test_who_takes_long_to_open_does_not_keep_it_from_others(self) -> None:
        self.ask('a', backend='ceph')
        other = self.ask('b', backend='ceph')
        self.assertEqual(State.WAITING, other.state)
        self.now += 6
        self.fair.give(self.now)
        self.assertEqual(State.OPENING, other.state)

    def test_while_as_many_as_it_stands_are_made_one_is_got_ready(self
                                                                  ) -> None:
        self.fair.note_cast(self.ask('a', backend='ceph'), self.now)
        second = self.ask('b', backend='ceph')
        third = self.ask('c', backend='ceph')
        self.assertEqual([State.OPENING, State.WAITING],
                         [second.state, third.state])
        self.fair.note_cast(second, self.now)
        self.fair.give(self.now + 100)
        self.assertEqual(State.WAITING, third.state)


class TenantsTest(bounded.TestCase):
    """Simulated: the real code, a simulated clock (make fairness)."""

    def test_beside_hostile_ones_no_other_misses_its_window(self) -> None:
        made = tenants.simulate(base.settings(
            agent_timeout=10, drain_timeout=30, lease=180), 60, 24)
        self.assertEqual(24, len(made))
        self.assertLess(max(each.waited for each in made), 30)

    def test_a_slow_back_end_makes_no_window_longer(self) -> None:
        made = tenants.simulate(base.settings(), 0, 30, every=0)
        self.assertEqual(30, len(made))
        self.assertLessEqual(max(each.passed - each.cast for each in made),
                             2 * tenants.SNAPSHOT)
