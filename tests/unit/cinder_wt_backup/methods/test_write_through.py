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

from collections.abc import Callable
from typing import Any

import ddt

from cinder_wt_backup import evidence
from cinder_wt_backup import exceptions
from cinder_wt_backup import window
from tests.unit import base
from tests.unit.fixtures import agent as fake

Level = evidence.Level
SECOND = 'fs 254:17 xfs sync /srv'


def _without(lines: list[str], word: str) -> list[str]:
    return [line for line in lines if line != word]


def start_cut_short(guest: fake.GuestAgent) -> None:
    guest.guardian.started = _without(guest.guardian.started, 'done')


def release_cut_short(guest: fake.GuestAgent) -> None:
    guest.guardian.ended = _without(guest.guardian.ended, 'done')


def start_garbled(guest: fake.GuestAgent) -> None:
    guest.guardian.started.insert(0, 'all is well')


def start_failed(guest: fake.GuestAgent) -> None:
    guest.guardian.exits['start'] = [5]
    guest.blocked = {fake.FREEZE}


def start_did_not_end(guest: fake.GuestAgent) -> None:
    def unfinished(pid: int) -> Any:
        del guest.answers[fake.STATUS]
        raise fake.Silent
    guest.answers[fake.STATUS] = unfinished


def release_failed(guest: fake.GuestAgent) -> None:
    guest.guardian.exits['release'] = [1]


def lease_ended(guest: fake.GuestAgent) -> None:
    guest.guardian.exits['release'] = [3]


def flag_not_set(guest: fake.GuestAgent) -> None:
    guest.guardian.started[1] = 'fs 254:16 ext4 rw /mnt'


def flag_gone_at_the_end(guest: fake.GuestAgent) -> None:
    guest.guardian.ended[0] = 'fs 254:16 ext4 rw /mnt'


def flag_missing_on_one_of_two(guest: fake.GuestAgent) -> None:
    guest.guardian.started.insert(1, 'fs 254:17 xfs sync /srv')
    guest.guardian.ended.insert(0, 'fs 254:17 xfs rw /srv')


def mounts_changed(guest: fake.GuestAgent) -> None:
    guest.guardian.ended = _without(guest.guardian.ended, 'same')


def device_without_flushes(guest: fake.GuestAgent) -> None:
    guest.guardian.started[1] = 'fs 254:16 ext4 nobarrier /mnt'


def raw_device_used_at_the_start(guest: fake.GuestAgent) -> None:
    guest.guardian.started.insert(1, 'raw')


def raw_device_used_at_the_end(guest: fake.GuestAgent) -> None:
    guest.guardian.ended.insert(1, 'raw')


def only_held(guest: fake.GuestAgent) -> None:
    guest.guardian.started = ['held', 'done']
    guest.guardian.ended = ['held', 'same', 'done']


def only_swap(guest: fake.GuestAgent) -> None:
    guest.guardian.started = ['swap', 'done']
    guest.guardian.ended = ['swap', 'same', 'done']


def busy(guest: fake.GuestAgent) -> None:
    guest.guardian.holder = 'cafe'


@ddt.ddt
class HonestyTest(base.WindowTestCase):
    """Whatever step is skipped or fails: no claim of write-through."""

    def test_with_all_steps_it_is_write_through(self) -> None:
        proof = self.proof()
        self.assertEqual((Level.WRITE_THROUGH, '', 'write_through'),
                         (proof.level, proof.reason, proof.method))
        self.assertEqual({'ext4': 1}, proof.filesystems)
        self.assertIsNone(self.guardian.holder)

    @ddt.data(start_cut_short, release_cut_short, start_garbled,
              start_failed, start_did_not_end, release_failed, lease_ended,
              flag_not_set, flag_gone_at_the_end, flag_missing_on_one_of_two,
              mounts_changed, device_without_flushes,
              raw_device_used_at_the_start, raw_device_used_at_the_end,
              only_held, only_swap, busy)
    def test_a_step_is_missing(self, spoil: Callable[[Any], None]) -> None:
        spoil(self.domain.agent)
        proof = self.proof(lock_timeout=1, methods=['write_through'])
        self.assertLess(proof.level, Level.WRITE_THROUGH)
        self.assertNotEqual('', proof.reason)

    def test_the_guest_lapses_while_the_snapshot_is_made(self) -> None:
        proof = self.proof(self.guardian.lapse)
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('lease', proof.reason)

    def test_the_agent_ends_while_the_snapshot_is_made(self) -> None:
        def end() -> None:
            self.domain.agent.blocked = set(fake.COMMANDS)
        proof = self.proof(end, agent_timeout=1)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('not confirmed', proof.reason)

    def test_the_snapshot_is_not_seen_to_be_finished(self) -> None:
        window = self.window()
        window.open()
        proof = window.close()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('not seen to be finished', proof.reason)


class JudgementTest(base.WindowTestCase):

    def test_several_filesystems_are_counted(self) -> None:
        self.guardian.started.insert(1, SECOND)
        self.guardian.ended.insert(0, SECOND)
        self.assertEqual({'ext4': 1, 'xfs': 1}, self.proof().filesystems)

    def test_one_that_is_read_only_is_no_objection(self) -> None:
        for lines in (self.guardian.started, self.guardian.ended):
            lines.insert(1, 'fs 254:17 xfs ro /srv')
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)

    def test_a_volume_that_nothing_uses_is_as_good_as_unmounted(self) -> None:
        self.guardian.started = ['dirty 0', 'done']
        self.guardian.ended = ['same', 'done']
        self.assertEqual(Level.FILESYSTEM, self.proof().level)

    def test_a_late_drain_alone_is_no_objection(self) -> None:
        self.guardian.started.insert(1, 'late')
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)

    def test_a_filesystem_on_more_volumes_is_said(self) -> None:
        self.guardian.started.insert(1, 'spans')
        proof = self.proof()
        self.assertEqual(Level.WRITE_THROUGH, proof.level)
        self.assertIn('other volumes', proof.reason)

    def test_of_a_frozen_one_that_is_said(self) -> None:
        flag_not_set(self.domain.agent)
        self.guardian.started.insert(1, 'frozen')
        self.assertIn('frozen by somebody else', self.proof().reason)


@ddt.ddt
class StuckTest(base.WindowTestCase):
    """The flag cannot be taken away at the end."""

    def setUp(self) -> None:
        super().setUp()
        self.guardian.ended.insert(0, 'stuck 254:16')

    def closed(self) -> window.Window:
        opened = self.window()
        opened.open()
        opened.covered()
        opened.close()
        return opened

    def abandon(self, opened: window.Window) -> None:
        window.abandon([self.target()], opened.token, False, base.options())

    @ddt.data(([], 'remount,async'), (['frozen'], 'frozen by somebody else'))
    @ddt.unpack
    def test_it_is_told_with_a_remedy(self, also: list[str],
                                      remedy: str) -> None:
        self.guardian.ended[:0] = also
        self.closed()
        self.assertIn('254:16', self.log.output)
        self.assertIn(remedy, self.log.output)

    def test_what_was_claimed_is_no_less_true(self) -> None:
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)

    def test_the_guest_counts_as_changed_until_it_is_not(self) -> None:
        opened = self.closed()
        self.assertTrue(opened.left_changed)
        error = self.assertRaises(exceptions.WriteThroughError, self.abandon,
                                  opened)
        self.assertIn('254:16', str(error))
        self.guardian.ended = ['same', 'done']
        self.abandon(opened)
        self.assertIsNone(self.guardian.holder)


@ddt.ddt
class BarrierTest(base.WindowTestCase):

    def proof(self, *args: Any, **values: Any) -> evidence.Evidence:
        return super().proof(*args, **{'barrier': 'freeze', **values})

    def test_on_top_of_write_through_it_is_as_good_as_unmounted(self) -> None:
        proof = self.proof(
            lambda: self.assertEqual(['/mnt'], self.domain.agent.frozen))
        self.assertEqual((Level.FILESYSTEM, '', 'write_through+freeze'),
                         (proof.level, proof.reason, proof.method))
        self.assertEqual([], self.domain.agent.frozen)
        self.assertIsNone(self.guardian.holder)

    @ddt.data(flag_not_set, flag_gone_at_the_end)
    def test_while_it_holds_no_flag_is_needed(self, spoil: Any) -> None:
        spoil(self.domain.agent)
        self.assertEqual(Level.FILESYSTEM, self.proof().level)

    @ddt.data(flag_not_set, flag_gone_at_the_end)
    def test_when_it_is_lost_the_flag_is(self, spoil: Any) -> None:
        spoil(self.domain.agent)
        self.assertEqual(Level.FLUSHED, self.proof(
            self.domain.agent.thaw_by_itself).level)

    def test_the_guardian_is_started_before_and_knows(self) -> None:
        self.proof(agent_timeout=2, freeze_timeout=4)
        self.assertEqual(['8', 'always'], self.guardian.arguments[0][-2:])
        commands = self.domain.agent.commands
        self.assertLess(commands.index(fake.EXEC),
                        commands.index(fake.FREEZE))

    def test_beside_somebody_elses_freeze_nothing_is_frozen(self) -> None:
        flag_not_set(self.domain.agent)
        self.guardian.started.insert(1, 'frozen')
        proof = self.proof()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('frozen by somebody else', proof.reason)
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)
        self.assertNotIn(fake.THAW, self.domain.agent.commands)

    def fall_through(self, words: str, *args: Any, **values: Any) -> None:
        proof = self.proof(*args, **values)
        self.assertEqual(Level.WRITE_THROUGH, proof.level)
        self.assertIn(words, proof.reason)
        self.assertEqual([], self.domain.agent.frozen)
        self.assertIsNone(self.guardian.holder)

    def test_lost_the_write_through_beneath_holds(self) -> None:
        self.fall_through('0 of 1', self.domain.agent.thaw_by_itself)

    def test_refused_the_write_through_beneath_holds(self) -> None:
        self.domain.agent.blocked = {fake.FREEZE}
        self.fall_through('no barrier')
        self.assertNotIn('freeze', self.proof().method)

    def test_late_the_write_through_beneath_holds(self) -> None:
        def fail(mountpoints: list[str]) -> None:
            self.domain.agent.frozen = mountpoints
            raise fake.Silent
        self.domain.agent.answers[fake.FREEZE] = fail
        self.fall_through('no barrier')

    def test_out_of_the_agents_reach_nothing_is_frozen(self) -> None:
        line = 'fs 254:17 ext4 sync /proc/77/root/data'
        self.guardian.started.insert(1, line)
        self.guardian.ended.insert(0, line)
        self.fall_through('does not reach')
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_a_thaw_that_goes_wrong_does_not_keep_the_flag(self) -> None:
        def fail() -> str:
            self.domain.agent.frozen = []
            return 'thawed'
        self.domain.agent.answers[fake.THAW] = fail
        self.proof()
        self.assertIsNone(self.guardian.holder)


class FallBackTest(base.WindowTestCase):
    """A guest that permits to run programs, but not to move the flag."""

    def setUp(self) -> None:
        super().setUp()
        flag_not_set(self.domain.agent)

    def flushed(self, words: str, **values: Any) -> None:
        proof = self.proof(**values)
        self.assertEqual((Level.FLUSHED, 'write_through'),
                         (proof.level, proof.method))
        self.assertIn(words, proof.reason)

    def test_it_is_frozen_instead_under_the_lease(self) -> None:
        proof = self.proof(agent_timeout=2, freeze_timeout=4)
        self.assertEqual((Level.FILESYSTEM, '', 'write_through+freeze'),
                         (proof.level, proof.reason, proof.method))
        self.assertEqual(['8', 'unless-sync'],
                         self.guardian.arguments[0][-2:])
        self.assertEqual([], self.domain.agent.frozen)

    def test_where_it_can_be_moved_nothing_is_frozen(self) -> None:
        self.guardian.started[1] = fake.EXT4
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_unless_freezing_is_none_of_the_methods(self) -> None:
        self.flushed('perl or python3', methods=['write_through'])
        self.assertEqual('-', self.guardian.arguments[0][-2])
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_unless_freezing_is_blocked(self) -> None:
        self.domain.agent.blocked = {fake.FREEZE}
        self.flushed('perl or python3')

    def test_unless_somebody_else_has_frozen_it(self) -> None:
        self.guardian.started.insert(1, 'frozen')
        self.flushed('frozen by somebody else')
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)
