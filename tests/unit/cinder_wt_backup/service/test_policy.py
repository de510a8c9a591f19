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

import ddt
import fixtures

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.service import policy
from tests.unit import base

Level = claims.Level


@ddt.ddt
class PolicyTest(base.TestCase):

    @ddt.data(None, {}, {'wt:policy': ''}, {'wt:policy': '  '},
              {'other': 'off'})
    def test_without_a_wish_the_operators_level_counts(
            self, metadata: dict[str, str] | None) -> None:
        self.assertEqual(policy.Policy(Level.FLUSHED),
                         policy.read(metadata, Level.FLUSHED))

    @ddt.data(
        (Level.CRASH, 'require=write-through', Level.WRITE_THROUGH),
        (Level.FLUSHED, ' require = filesystem ', Level.FILESYSTEM),
        (Level.FILESYSTEM, 'require=flushed', Level.FILESYSTEM))
    @ddt.unpack
    def test_the_higher_of_both_counts(self, operator: Level, wish: str,
                                       expected: Level) -> None:
        self.assertEqual(policy.Policy(expected),
                         policy.read({'wt:policy': wish}, operator))

    @ddt.data(('no-exec', Level.CRASH),
              ('no-exec,require=flushed', Level.FLUSHED),
              (' require=flushed , no-exec ', Level.FLUSHED),
              ('require = filesystem,no-exec', Level.FILESYSTEM))
    @ddt.unpack
    def test_an_owner_may_forbid_programs(self, wish: str, expected: Level
                                          ) -> None:
        metadata = {'wt:policy': wish}
        self.assertTrue(policy.forbids_programs(metadata))
        self.assertEqual(policy.Policy(expected),
                         policy.read(metadata, Level.CRASH))
        # That lowers nothing.
        self.assertEqual(policy.Policy(Level.FILESYSTEM),
                         policy.read(metadata, Level.FILESYSTEM))

    @ddt.data(None, {}, {'wt:policy': ''}, {'wt:policy': 'off'},
              {'wt:policy': 'require=flushed'}, {'wt:policy': 'no-execution'},
              {'other': 'no-exec'})
    def test_others_do_not(self, metadata: dict[str, str] | None) -> None:
        self.assertFalse(policy.forbids_programs(metadata))

    def test_a_volume_may_opt_out(self) -> None:
        self.assertTrue(policy.read({'wt:policy': 'off'}, Level.CRASH).off)

    def test_opting_out_of_what_is_required_is_ignored(self) -> None:
        log = self.useFixture(fixtures.FakeLogger())
        wish = policy.read({'wt:policy': 'off'}, Level.FLUSHED)
        self.assertEqual(policy.Policy(Level.FLUSHED), wish)
        self.assertIn('off is ignored', log.output)

    @ddt.data('on', 'require', 'require=', 'require=best', 'OFF',
              'off,require=flushed', 'require=flushed,require=crash',
              'noexec', 'NO-EXEC', 'no_exec', ',', 'x' * 300)
    def test_what_cannot_be_read_names_the_value(self, wish: str) -> None:
        error = self.assertRaises(exceptions.PolicyError, policy.read,
                                  {'wt:policy': wish}, Level.CRASH)
        self.assertIn(repr(wish[:100]), str(error))
        # fail_reason is a column of 255 characters.
        self.assertLessEqual(len(str(error)), 255)

    @ddt.data('no-exec,best', 'no-exec,require=best', 'require=,no-exec',
              'no-exec;require=flushed')
    def test_no_exec_excuses_nothing_beside_it(self, wish: str) -> None:
        error = self.assertRaises(exceptions.PolicyError, policy.read,
                                  {'wt:policy': wish}, Level.CRASH)
        self.assertIn('wt:policy', str(error))


@ddt.ddt
class RefuseTest(base.TestCase):

    @ddt.data(Level.WRITE_THROUGH, Level.FILESYSTEM)
    def test_what_reaches_the_level_is_not_refused(self, level: Level
                                                   ) -> None:
        self.assertIsNone(policy.Policy(Level.WRITE_THROUGH).refuse(
            claims.Claim(level)))

    @ddt.data(Level.CRASH, Level.FLUSHED)
    def test_what_does_not_is_refused_with_its_reason(self, level: Level
                                                      ) -> None:
        refusal = policy.Policy(Level.WRITE_THROUGH).refuse(
            claims.Claim(level, 'no guest agent runs'))
        self.assertIn(f'reached {level.value}', str(refusal))
        self.assertIn('write-through is required', str(refusal))
        self.assertIn('no guest agent runs', str(refusal))
