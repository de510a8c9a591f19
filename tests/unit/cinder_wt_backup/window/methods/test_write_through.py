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

from collections.abc import Callable
import threading
import time
from typing import Any

import ddt
import fixtures

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.service import process
from cinder_wt_backup.window.methods import judgement
from cinder_wt_backup.window import volume as windows
from tests.unit import base
from tests.unit.fixtures import agent as fake

Level = claims.Level
CHANGED = 'mounted or unmounted in the guest meanwhile'


def start_cut_short(guest: fake.GuestAgent) -> None:
    guest.guardian.outputs['start'] = lambda text: text[:-10]


def release_cut_short(guest: fake.GuestAgent) -> None:
    guest.guardian.outputs['release'] = lambda text: text[:-10]


def start_garbled(guest: fake.GuestAgent) -> None:
    guest.guardian.outputs['start'] = lambda text: 'all is well\n' + text


def start_failed(guest: fake.GuestAgent) -> None:
    guest.guardian.exits['start'] = [5]


def start_did_not_end(guest: fake.GuestAgent) -> None:
    def unfinished(pid: int) -> Any:
        del guest.answers[fake.STATUS]
        raise fake.Silent
    guest.answers[fake.STATUS] = unfinished


def release_failed(guest: fake.GuestAgent) -> None:
    guest.guardian.exits['release'] = [1]


def lease_ended(guest: fake.GuestAgent) -> None:
    guest.guardian.exits['release'] = [3]


def ended_by_itself(guest: fake.GuestAgent) -> None:
    guest.guardian.released = False


def of_another_window(guest: fake.GuestAgent) -> None:
    guest.guardian.instead['start'] = {'token': 'cafecafe'}


def of_another_version(guest: fake.GuestAgent) -> None:
    guest.guardian.instead['release'] = {'version': 2}


def flag_not_set(guest: fake.GuestAgent) -> None:
    guest.guardian.filesystems[0].state = 'rw'


def flag_gone_at_the_end(guest: fake.GuestAgent) -> None:
    guest.guardian.filesystems[0].was = 'rw'


def flag_missing_on_one_of_two(guest: fake.GuestAgent) -> None:
    guest.guardian.mount('254:17', 'xfs', '/srv', was='rw')


def mounts_changed(guest: fake.GuestAgent) -> None:
    guest.guardian.mounts_at_end = []


def device_without_flushes(guest: fake.GuestAgent) -> None:
    guest.guardian.filesystems[0].barrier = False


def raw_device_used_at_the_start(guest: fake.GuestAgent) -> None:
    guest.guardian.remarks.append('raw')


def raw_device_used_at_the_end(guest: fake.GuestAgent) -> None:
    guest.guardian.end_remarks.append('raw')


def only_held(guest: fake.GuestAgent) -> None:
    guest.guardian.filesystems.clear()
    guest.guardian.remarks.append('held')


def only_swap(guest: fake.GuestAgent) -> None:
    guest.guardian.filesystems.clear()
    guest.guardian.end_remarks.append('swap')


def busy(guest: fake.GuestAgent) -> None:
    guest.guardian.holder = 'cafecafe'


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
              ended_by_itself, of_another_window, of_another_version,
              flag_not_set, flag_gone_at_the_end, flag_missing_on_one_of_two,
              mounts_changed, device_without_flushes,
              raw_device_used_at_the_start, raw_device_used_at_the_end,
              only_held, only_swap, busy)
    def test_a_step_is_missing(self, spoil: Callable[[Any], None]) -> None:
        spoil(self.domain.agent)
        proof = self.proof(lock_timeout=1, methods=['write_through'])
        self.assertLess(proof.level, Level.WRITE_THROUGH)
        self.assertNotEqual('', proof.reason)

    @ddt.data('unflushed', 'journal')
    def test_a_lapse_is_no_better_than_what_was_seen(self, remark: str
                                                     ) -> None:
        self.guardian.remarks.append(remark)
        self.assertEqual(Level.CRASH, self.proof(self.guardian.lapse).level)

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

    def test_a_window_that_had_ended_when_it_was_stuck(self) -> None:
        self.guardian.released = False
        self.guardian.filesystems[0].undo = 'stuck'
        opened = self.window()
        opened.open()
        opened.cover()
        proof = opened.close()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('the release was not confirmed', proof.reason)
        self.assertTrue(opened.left_changed)


# What may hold data away from the file systems, and what that permits.
REMARKS = (
    ('unflushed', Level.CRASH, 'a flush failed'),
    ('journal', Level.CRASH, 'lie on different disks'),
    ('container', Level.FLUSHED, 'runs in a container'),
    ('unseen', Level.FLUSHED, 'could be seen'),
    ('cache', Level.FLUSHED, 'on other disks'),
    ('raw', Level.FLUSHED, 'without a file system'),
    ('kernel', Level.FLUSHED, 'exports disks'))
# What does not, where the file systems on it are synchronous.
HARMLESS = ('held', 'swap', 'loop', 'late')


@ddt.ddt
class RemarksTest(base.WindowTestCase):

    def test_none_is_forgotten(self) -> None:
        self.assertEqual(
            {*protocol.Remark},
            {'spans', *HARMLESS, *(remark for remark, _, _ in REMARKS)})
        self.assertEqual({remark for remark, _, _ in REMARKS},
                         {remark for remark, _, _ in judgement.REMARKS})

    @ddt.data(*REMARKS)
    @ddt.unpack
    def test_of_a_start(self, remark: str, level: Level, words: str) -> None:
        self.guardian.remarks.append(remark)
        proof = self.proof()
        self.assertEqual(level, proof.level)
        self.assertIn(words, proof.reason)

    @ddt.data(*REMARKS)
    @ddt.unpack
    def test_of_a_release(self, remark: str, level: Level, words: str
                          ) -> None:
        self.guardian.end_remarks.append(remark)
        proof = self.proof()
        self.assertEqual(level, proof.level)
        self.assertIn(words, proof.reason)

    @ddt.data(*REMARKS)
    @ddt.unpack
    def test_a_barrier_is_no_help(self, remark: str, level: Level,
                                  words: str) -> None:
        self.guardian.remarks.append(remark)
        proof = self.proof(barrier='freeze')
        self.assertEqual(level, proof.level)
        self.assertIn(words, proof.reason)

    @ddt.data(*HARMLESS)
    def test_one_that_is_no_objection(self, remark: str) -> None:
        self.guardian.remarks.append(remark)
        self.guardian.end_remarks.append(remark)
        proof = self.proof()
        self.assertEqual((Level.WRITE_THROUGH, ''),
                         (proof.level, proof.reason))

    @ddt.data('held', 'swap')
    def test_without_a_file_system_it_is_one(self, remark: str) -> None:
        self.guardian.filesystems.clear()
        self.guardian.remarks.append(remark)
        proof = self.proof()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('without a mounted file system', proof.reason)

    def test_the_lowest_of_several_counts(self) -> None:
        self.guardian.remarks.extend(['raw', 'journal', 'kernel'])
        self.assertEqual(Level.CRASH, self.proof().level)

    def test_a_filesystem_on_more_volumes_is_said(self) -> None:
        self.guardian.remarks.append('spans')
        proof = self.proof()
        self.assertEqual(Level.WRITE_THROUGH, proof.level)
        self.assertIn('other volumes', proof.reason)


@ddt.ddt
class JudgementTest(base.WindowTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.ext4 = self.guardian.filesystems[0]

    def test_several_filesystems_are_counted(self) -> None:
        self.guardian.mount('254:17', 'xfs', '/srv')
        self.guardian.mount('254:18', 'ext4', '/data')
        proof = self.proof()
        self.assertEqual((Level.WRITE_THROUGH, {'ext4': 2, 'xfs': 1}),
                         (proof.level, proof.filesystems))

    @ddt.data('ro', 'sync')
    def test_one_that_needs_no_flag_is_no_objection(self, state: str
                                                    ) -> None:
        self.guardian.mount('254:17', 'xfs', '/srv', state)
        proof = self.proof()
        self.assertEqual((Level.WRITE_THROUGH, ''),
                         (proof.level, proof.reason))

    def test_a_volume_that_nothing_uses_is_as_good_as_unmounted(self) -> None:
        self.guardian.filesystems.clear()
        self.assertEqual(Level.FILESYSTEM, self.proof().level)

    def test_options_that_stay_changed_are_told(self) -> None:
        self.guardian.mount('254:17', 'xfs', '/srv')
        self.ext4.changed = ['-inode32', '+inode64']
        proof = self.proof()
        self.assertEqual(Level.WRITE_THROUGH, proof.level)
        self.assertIn('are not as before', proof.reason)
        self.assertIn('254:16 (-inode32, +inode64)', proof.reason)
        self.assertIn('254:16 (-inode32, +inode64)', self.log.output)
        self.assertNotIn('254:17', self.log.output)

    @ddt.data('none', 'freeze')
    def test_one_that_could_not_be_flushed_leaves_nothing_to_claim(
            self, barrier: str) -> None:
        self.ext4.flush = 'none'
        self.ext4.errors['flush'] = 'EIO'
        proof = self.proof(barrier=barrier)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('ext4 could not be flushed', proof.reason)
        self.assertIn('EIO', proof.reason)
        self.assertIn('kernel log', proof.reason)

    def test_also_if_an_earlier_flush_was_well(self) -> None:
        # The program keeps what the drain's flush said, and notes the error.
        self.ext4.flush = 'done'
        self.ext4.errors['flush'] = 'EIO'
        proof = self.proof()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('EIO', proof.reason)

    @ddt.data('none', 'freeze')
    def test_one_that_hangs_leaves_nothing_to_claim(self, barrier: str
                                                    ) -> None:
        self.guardian.mount('254:17', 'xfs', '/srv', 'unknown', own=False)
        proof = self.proof(barrier=barrier)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('xfs could not be flushed', proof.reason)
        self.assertIn('did not return', proof.reason)

    def test_one_that_hangs_later_is_only_flushed(self) -> None:
        self.guardian.mount('254:17', 'xfs', '/srv', 'unknown', flush='done')
        proof = self.proof()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('xfs could not be made synchronous', proof.reason)

    def test_one_that_an_error_made_read_only_is_not_flushed(self) -> None:
        self.ext4.state = 'ro'
        self.ext4.errors['flush'] = 'EIO'
        self.assertEqual(Level.CRASH, self.proof().level)

    @ddt.data('none', 'freeze')
    def test_what_is_hidden_is_only_flushed(self, barrier: str) -> None:
        self.guardian.mount('254:17', 'xfs', '/srv', 'hidden')
        proof = self.proof(barrier=barrier)
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('xfs is hidden', proof.reason)
        # Its name leads to another one.
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    @ddt.data('none', 'freeze')
    def test_without_write_barriers_it_is_only_flushed(self, barrier: str
                                                       ) -> None:
        self.ext4.barrier = False
        proof = self.proof(barrier=barrier)
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('without write barriers', proof.reason)

    @ddt.data(({}, 'of a type'), ({'engage': 'EOPNOTSUPP'}, 'older than 5.2'),
              ({'engage': 'EBUSY'}, 'frozen by somebody else'),
              ({'engage': 'EINVAL'}, 'refused it (EINVAL)'))
    @ddt.unpack
    def test_why_one_lacks_the_flag_is_said(self, errors: dict[str, str],
                                            words: str) -> None:
        self.ext4.state = 'rw'
        self.ext4.errors.update(errors)
        proof = self.proof(methods=['write_through'])
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('ext4 could not be made synchronous', proof.reason)
        self.assertIn(words, proof.reason)

    @ddt.data(('gone', CHANGED), ('rw', 'without sync'),
              ('hidden', 'could not be seen to be synchronous'),
              ('unknown', 'could not be seen to be synchronous'))
    @ddt.unpack
    def test_what_it_was_at_the_end_counts(self, was: str, words: str
                                           ) -> None:
        self.ext4.was = was
        proof = self.proof()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn(words, proof.reason)

    @ddt.data('sync', 'ro')
    def test_an_admin_may_have_made_it_so_meanwhile(self, was: str) -> None:
        self.ext4.was = was
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)

    @ddt.data([], [['254:17', 'ext4', '/mnt']], [['254:16', 'xfs', '/mnt']],
              [['254:16', 'ext4', '/mnt'], ['254:17', 'ext4', '/srv']])
    def test_other_file_systems_at_the_end(self, mounts: list[list[str]]
                                           ) -> None:
        self.guardian.mounts_at_end = mounts
        proof = self.proof()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn(CHANGED, proof.reason)

    def test_one_more_while_the_others_were_made_synchronous(self) -> None:
        self.guardian.mounts = [
            ['254:16', 'ext4', '/mnt'], ['254:17', 'ext4', '/srv']]
        proof = self.proof()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn(CHANGED, proof.reason)

    @ddt.data([['254:16', 'ext4', '/elsewhere']],
              [['254:16', 'ext4', '/mnt'], ['254:16', 'ext4', '/bind']])
    def test_the_same_at_another_place_is_no_change(
            self, mounts: list[list[str]]) -> None:
        self.guardian.mounts_at_end = mounts
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)

    def test_a_type_that_may_lose_options_is_frozen_if_it_may(self) -> None:
        self.ext4.type, self.ext4.state = 'f2fs', 'rw'
        self.assertEqual(Level.FILESYSTEM, self.proof().level)


@ddt.ddt
class OldKernelTest(base.WindowTestCase):
    """Before Linux 6.0 write(2) looks at the flag when it begins."""

    def setUp(self) -> None:
        super().setUp()
        self.guardian.kernel = '5.14.0-503.el9.x86_64'

    @ddt.data('none', 'busy', 'failed', 'late')
    def test_without_a_pulse_it_is_only_flushed(self, pulse: str) -> None:
        self.guardian.filesystems[0].pulse = pulse
        proof = self.proof()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('older than 6.0', proof.reason)

    def test_with_a_pulse_it_is_write_through(self) -> None:
        proof = self.proof()
        self.assertEqual('needed', self.guardian.arguments[0][1]['pulse'])
        self.assertEqual((Level.WRITE_THROUGH, ''),
                         (proof.level, proof.reason))
        self.assertEqual(['guest-info', fake.EXEC, fake.STATUS,
                          fake.FREEZE_STATUS, fake.EXEC, fake.STATUS],
                         self.domain.agent.commands)

    def test_every_one_needs_it(self) -> None:
        self.guardian.mount('254:17', 'xfs', '/srv', pulse='busy')
        self.assertEqual(Level.FLUSHED, self.proof().level)

    @ddt.data('sync', 'ro')
    def test_but_not_what_was_so_before(self, state: str) -> None:
        self.guardian.mount('254:17', 'xfs', '/srv', state)
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)

    def test_a_barrier_stands_in_for_it(self) -> None:
        proof = self.proof(barrier='freeze')
        self.assertEqual('never', self.guardian.arguments[0][1]['pulse'])
        self.assertEqual((Level.FILESYSTEM, ''), (proof.level, proof.reason))

    def test_also_one_that_did_not_hold(self) -> None:
        proof = self.proof(self.domain.agent.thaw_by_itself,
                           barrier='freeze')
        self.assertEqual(Level.WRITE_THROUGH, proof.level)

    def test_but_not_one_that_never_began(self) -> None:
        self.domain.agent.blocked = {fake.FREEZE}
        proof = self.proof(barrier='freeze')
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('older than 6.0', proof.reason)

    def test_since_then_none_is_needed(self) -> None:
        self.guardian.kernel = '6.0.0'
        self.guardian.filesystems[0].pulse = 'none'
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)
        self.assertNotIn(fake.FREEZE_STATUS, self.domain.agent.commands)


@ddt.ddt
class FrozenMeanwhileTest(base.WindowTestCase):
    """Somebody may have frozen the guest while its writers were drained."""

    def setUp(self) -> None:
        super().setUp()
        self.guardian.kernel = '5.10.0'

        def frozen_once() -> str:
            del self.domain.agent.answers[fake.FREEZE_STATUS]
            return 'frozen'
        self.domain.agent.answers[fake.FREEZE_STATUS] = frozen_once

    def test_what_he_makes_of_it_may_be_worth_nothing(self) -> None:
        opened = self.window()
        opened.open()
        opened.cover()
        proof = opened.close()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn(self.domain.instance, proof.reason)
        self.assertIn('frozen by somebody else', proof.reason)
        self.assertEqual(['start', 'release'], self.guardian.commands)
        self.assertIsNone(self.guardian.holder)
        self.assertFalse(opened.left_changed)
        # It is his to end.
        self.assertNotIn(fake.THAW, self.domain.agent.commands)

    @ddt.data('late', 'failed')
    def test_also_if_it_is_not_known_what_became_of_it(self, pulse: str
                                                       ) -> None:
        self.guardian.filesystems[0].pulse = pulse
        self.assertEqual(Level.CRASH, self.proof().level)

    def test_where_nothing_was_drained_it_does_not_matter(self) -> None:
        self.guardian.filesystems[0].pulse = 'busy'
        self.assertEqual(Level.FLUSHED, self.proof().level)
        self.assertNotIn(fake.FREEZE_STATUS, self.domain.agent.commands)

    def test_an_agent_that_never_freezes_has_not_done_so(self) -> None:
        self.domain.agent.blocked = {fake.FREEZE, fake.FREEZE_STATUS,
                                     fake.THAW}
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)


@ddt.ddt
class StuckTest(base.WindowTestCase):
    """The flag cannot be taken away at the end."""

    def setUp(self) -> None:
        super().setUp()
        self.guardian.filesystems[0].undo = 'stuck'

    def closed(self) -> tuple[windows.Window, claims.Claim]:
        opened = self.window()
        opened.open()
        opened.cover()
        return opened, opened.close()

    def recover(self, opened: windows.Window) -> None:
        windows.recover([self.target()], opened.token, False,
                        base.settings(), process.lock)

    @ddt.data(('stuck', 'remount,async'),
              ('frozen', 'frozen by somebody else'),
              ('unknown', 'does not return'))
    @ddt.unpack
    def test_it_is_told_with_a_remedy(self, undo: str, remedy: str) -> None:
        self.guardian.filesystems[0].undo = undo
        self.closed()
        self.assertIn('254:16', self.log.output)
        self.assertIn(remedy, self.log.output)

    def test_nobody_is_said_to_have_unmounted_it(self) -> None:
        _opened, proof = self.closed()
        self.assertNotIn(CHANGED, proof.reason)
        # What stays synchronous was so all the time.
        self.assertEqual(Level.WRITE_THROUGH, proof.level)

    def test_the_guest_counts_as_changed_until_it_is_not(self) -> None:
        opened, _proof = self.closed()
        self.assertTrue(opened.left_changed)
        error = self.assertRaises(exceptions.GuardianStuck, self.recover,
                                  opened)
        self.assertIn('254:16', str(error))
        self.guardian.filesystems[0].undo = None
        self.recover(opened)
        self.assertIsNone(self.guardian.holder)

    def test_while_its_supervisor_is_at_it_nothing_is_confirmed(self) -> None:
        self.guardian.exits['release'] = [8]
        self.guardian.reason = 'the supervisor is at it'
        opened, proof = self.closed()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('not confirmed', proof.reason)
        self.assertIn('the supervisor is at it', proof.reason)
        self.assertTrue(opened.left_changed)


@ddt.ddt
class BarrierTest(base.WindowTestCase):

    def proof(self, *args: Any, **values: Any) -> claims.Claim:
        return super().proof(*args, **{'barrier': 'freeze', **values})

    def test_on_top_of_write_through_it_is_as_good_as_unmounted(self) -> None:
        proof = self.proof(
            lambda: self.assertEqual(['/mnt'], self.domain.agent.frozen))
        self.assertEqual((Level.FILESYSTEM, '', 'write_through+freeze'),
                         (proof.level, proof.reason, proof.method))
        self.assertEqual([], self.domain.agent.frozen)
        self.assertIsNone(self.guardian.holder)
        self.assertEqual(['guest-info', fake.EXEC, fake.STATUS,
                          fake.FREEZE, fake.THAW, fake.EXEC, fake.STATUS],
                         self.domain.agent.commands)

    @ddt.data(('was', 'hidden'), ('was', 'unknown'), ('own_at_end', False),
              ('point_at_end', '/elsewhere'))
    @ddt.unpack
    def test_one_that_its_path_left_was_not_frozen(self, name: str,
                                                   value: Any) -> None:
        self.guardian.filesystems[0].state = 'rw'
        setattr(self.guardian.filesystems[0], name, value)
        self.assertEqual(Level.FLUSHED, self.proof().level)

    @ddt.data(('state', 'rw'), ('was', 'rw'))
    @ddt.unpack
    def test_while_it_holds_no_flag_is_needed(self, name: str, state: str
                                              ) -> None:
        setattr(self.guardian.filesystems[0], name, state)
        self.assertEqual(Level.FILESYSTEM, self.proof().level)

    @ddt.data(('state', 'rw'), ('was', 'rw'), ('was', 'hidden'),
              ('was', 'unknown'))
    @ddt.unpack
    def test_when_it_is_lost_the_flag_is(self, name: str, state: str
                                         ) -> None:
        setattr(self.guardian.filesystems[0], name, state)
        self.assertEqual(Level.FLUSHED, self.proof(
            self.domain.agent.thaw_by_itself).level)

    def test_what_is_gone_at_the_end_was_not_held(self) -> None:
        self.guardian.filesystems[0].was = 'gone'
        self.assertEqual(Level.FLUSHED, self.proof().level)

    def test_somebody_else_was_first_and_is_not_thawed_by_the_guest(
            self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.window.methods.write_through.DISARM_AGAIN',
            0.02))

        def frozen_first(mountpoints: list[str]) -> int:
            self.domain.agent.frozen = mountpoints
            raise fake.Refused('guest-fsfreeze-freeze-list is disabled')
        self.domain.agent.answers[fake.FREEZE] = frozen_first
        opened = self.window(barrier='freeze')
        opened.open()
        self.assertEqual(['start'], self.guardian.commands)
        self.domain.agent.frozen = []
        end = time.monotonic() + 5
        while 'thawed' not in self.guardian.commands:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        opened.cover()
        self.assertEqual(Level.WRITE_THROUGH, opened.close().level)

    def test_vfat_is_not_frozen_and_its_writers_not_waited_for(self) -> None:
        self.guardian.kernel = '5.10.0'
        self.guardian.mount('254:17', 'vfat', '/data')
        self.assertEqual(Level.FLUSHED, self.proof().level)

    def test_what_the_guest_thawed_by_itself_was_not_held(self) -> None:
        self.guardian.filesystems[0].thawed = True
        proof = self.proof()
        self.assertEqual(Level.WRITE_THROUGH, proof.level)
        self.assertIn('ended the freeze by itself', proof.reason)

    def test_the_guardian_is_started_before_and_knows(self) -> None:
        self.proof(agent_timeout=2, freeze_timeout=4)
        request = self.guardian.arguments[0][1]
        self.assertEqual((8, 'always', 'never'), (
            request['freeze'], request['barrier'], request['pulse']))
        commands = self.domain.agent.commands
        self.assertLess(commands.index(fake.EXEC),
                        commands.index(fake.FREEZE))

    def test_beside_somebody_elses_freeze_nothing_is_frozen(self) -> None:
        flag_not_set(self.domain.agent)
        self.guardian.filesystems[0].errors['engage'] = 'EBUSY'
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

    @ddt.data({'own': False}, {'point': ''})
    def test_out_of_the_agents_reach_nothing_is_frozen(
            self, values: dict[str, Any]) -> None:
        self.guardian.mount(**{'device': '254:17', 'kind': 'ext4',
                               'point': '/data', **values})
        self.fall_through('does not reach')
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_without_a_lease_of_its_own_nothing_is_frozen(self) -> None:
        self.guardian.instead['start'] = {'armed': False}
        self.fall_through('would not end a freeze by itself')
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_a_thaw_that_goes_wrong_does_not_keep_the_flag(self) -> None:
        def fail() -> str:
            self.domain.agent.frozen = []
            return 'thawed'
        self.domain.agent.answers[fake.THAW] = fail
        self.proof()
        self.assertIsNone(self.guardian.holder)


class DisarmTest(base.WindowTestCase):
    """The guest is told once no freeze of ours is to be ended any more."""

    def told(self, *expected: str) -> None:
        self.assertEqual(['start', *expected, 'release'],
                         self.guardian.commands)
        self.assertIsNone(self.guardian.holder)

    def silent(self, name: str) -> None:
        def answer(**_arguments: Any) -> None:
            del self.domain.agent.answers[name]
            raise fake.Silent
        self.domain.agent.answers[name] = answer

    def wait_until_told(self) -> None:
        deadline = time.monotonic() + 10
        while 'thawed' not in self.guardian.commands:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertIsNotNone(self.guardian.holder)
        self.assertEqual([], self.domain.agent.frozen)
        # The timer's thread is at that call still.
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer) and thread.interval <= 1:
                thread.join(10)

    def test_when_the_barrier_expired_and_the_window_goes_on(self) -> None:
        proof = self.proof(self.wait_until_told, barrier='freeze',
                           freeze_timeout=1)
        self.told('thawed')
        self.assertEqual(Level.WRITE_THROUGH, proof.level)
        self.assertIn('freeze_timeout = 1 s', proof.reason)

    def test_not_while_the_barrier_holds(self) -> None:
        self.assertEqual(Level.FILESYSTEM,
                         self.proof(barrier='freeze').level)
        self.told()

    def test_when_only_the_efi_partition_lacks_the_flag(self) -> None:
        self.guardian.mount('254:17', 'vfat', '/boot/efi', 'rw')
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)
        self.told('thawed')
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_when_somebody_else_has_frozen_it(self) -> None:
        self.guardian.mount('254:17', 'xfs', '/srv', 'rw',
                            errors={'engage': 'EBUSY'})
        self.proof()
        self.told('thawed')
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_when_it_could_not_be_frozen(self) -> None:
        self.domain.agent.blocked = {fake.FREEZE}
        self.proof(barrier='freeze')
        self.told('thawed')

    def test_when_a_freeze_that_was_late_is_over(self) -> None:
        self.silent(fake.FREEZE)
        self.proof(barrier='freeze')
        self.told('thawed')

    def test_not_when_a_freeze_is_still_due(self) -> None:
        self.silent(fake.FREEZE)
        self.silent(fake.THAW)
        proof = self.proof(barrier='freeze')
        self.told()
        self.assertEqual(Level.WRITE_THROUGH, proof.level)

    def test_not_when_it_expects_none(self) -> None:
        flag_not_set(self.domain.agent)
        self.proof(methods=['write_through'])
        self.told()

    def test_that_it_was_not_heard_is_told(self) -> None:
        self.guardian.mount('254:17', 'vfat', '/boot/efi', 'rw')
        self.guardian.exits['thawed'] = [8]
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)
        self.assertIn(f'{self.domain.instance} was not told',
                      self.log.output)
        self.told('thawed')


NOT_COVERED = 'the EFI system partition at /boot/efi is not covered'


@ddt.ddt
class EfiTest(base.WindowTestCase):
    """A boot volume, whose EFI system partition no kernel can freeze."""

    def setUp(self) -> None:
        super().setUp()
        self.domain.agent.mounts = [
            fake.mount('/mnt'), fake.mount('/boot/efi', 'vdb2', 'vfat')]

    def mount(self, start: str | None = 'flagged', end: str | None = 'flagged',
              point: str = '/boot/efi') -> None:
        """Have the guardian see it, in these states; None: not mounted."""
        row = ['254:17', 'vfat', point]
        if start:
            self.guardian.mount(*row, start, was=end or 'gone')
            self.guardian.mounts_at_end = [
                ['254:16', 'ext4', '/mnt'], *([row] if end else [])]
        else:
            self.guardian.mounts_at_end = [['254:16', 'ext4', '/mnt'], row]

    def test_flagged_like_others_it_is_covered(self) -> None:
        self.mount()
        proof = self.proof()
        self.assertEqual((Level.WRITE_THROUGH, ''),
                         (proof.level, proof.reason))
        self.assertEqual({'ext4': 1, 'vfat': 1}, proof.filesystems)

    @ddt.data((None, 'rw'), ('flagged', None), ('rw', 'rw'), ('rw', None),
              ('flagged', 'rw'), ('flagged', 'unknown'))
    @ddt.unpack
    def test_that_comes_or_goes_it_lowers_nothing(
            self, start: str | None, end: str | None) -> None:
        self.mount(start, end)
        proof = self.proof()
        self.assertEqual((Level.WRITE_THROUGH, NOT_COVERED),
                         (proof.level, proof.reason))
        self.assertEqual({'ext4': 1}, proof.filesystems)
        # It alone is no reason to freeze anything.
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_where_its_writers_were_not_drained_it_is_not_covered(self
                                                                  ) -> None:
        self.guardian.kernel = '5.14.0'
        self.mount()
        proof = self.proof()
        self.assertEqual((Level.WRITE_THROUGH, NOT_COVERED, {'ext4': 1}),
                         (proof.level, proof.reason, proof.filesystems))

    @ddt.data('flagged', None, 'rw')
    def test_with_a_barrier_the_others_are_frozen(self, end: str | None
                                                  ) -> None:
        self.mount('flagged', end)
        proof = self.proof(
            lambda: self.assertEqual(['/mnt'], self.domain.agent.frozen),
            barrier='freeze')
        self.assertEqual((Level.FILESYSTEM, NOT_COVERED),
                         (proof.level, proof.reason))
        self.assertEqual({'ext4': 1}, proof.filesystems)

    @ddt.data(('flagged', Level.WRITE_THROUGH, 'vfat cannot be frozen'),
              ('rw', Level.FLUSHED, 'vfat could not be made synchronous'),
              ('ro', Level.FILESYSTEM, ''))
    @ddt.unpack
    def test_elsewhere_it_caps_what_a_barrier_claims(
            self, state: str, level: Level, reason: str) -> None:
        self.mount(state, state, '/srv')
        proof = self.proof(barrier='freeze')
        self.assertEqual(level, proof.level, proof)
        self.assertIn(reason, proof.reason)
        self.assertGreater(proof.freeze_ms, 0)

    def test_one_that_is_alone_is_no_exception(self) -> None:
        self.guardian.filesystems.clear()
        self.guardian.mount('254:17', 'vfat', '/boot/efi', 'rw')
        proof = self.proof(barrier='freeze')
        self.assertEqual(Level.FLUSHED, proof.level, proof)


class FallBackTest(base.WindowTestCase):
    """A guest that permits to run programs, but not to move the flag."""

    def setUp(self) -> None:
        super().setUp()
        flag_not_set(self.domain.agent)
        self.guardian.filesystems[0].errors['engage'] = 'EOPNOTSUPP'

    def flushed(self, words: str, **values: Any) -> None:
        proof = self.proof(**values)
        self.assertEqual((Level.FLUSHED, 'write_through'),
                         (proof.level, proof.method))
        self.assertIn(words, proof.reason)

    def test_it_is_frozen_instead_under_the_lease(self) -> None:
        proof = self.proof(agent_timeout=2, freeze_timeout=4)
        self.assertEqual((Level.FILESYSTEM, '', 'write_through+freeze'),
                         (proof.level, proof.reason, proof.method))
        request = self.guardian.arguments[0][1]
        self.assertEqual((8, 'unflagged', 'needed'), (
            request['freeze'], request['barrier'], request['pulse']))
        self.assertEqual([], self.domain.agent.frozen)

    def test_where_it_can_be_moved_nothing_is_frozen(self) -> None:
        self.guardian.filesystems[0].state = 'flagged'
        self.assertEqual(Level.WRITE_THROUGH, self.proof().level)
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_unless_freezing_is_none_of_the_methods(self) -> None:
        self.flushed('older than 5.2', methods=['write_through'])
        self.assertEqual('never', self.guardian.arguments[0][1]['barrier'])
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_unless_freezing_is_blocked(self) -> None:
        self.domain.agent.blocked = {fake.FREEZE}
        self.flushed('older than 5.2')

    def test_unless_the_agent_does_not_reach_every_one(self) -> None:
        self.guardian.mount('254:17', 'xfs', '/srv', own=False)
        self.flushed('older than 5.2')
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_unless_somebody_else_has_frozen_it(self) -> None:
        self.guardian.filesystems[0].errors['engage'] = 'EBUSY'
        self.flushed('frozen by somebody else')
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)
