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

import ddt

from cinder_wt_backup.claims import claim as claims
from tests.unit import base

Level = claims.Level


@ddt.ddt
class LevelTest(base.TestCase):

    def test_a_higher_claim_compares_higher(self) -> None:
        self.assertEqual(
            [Level.CRASH, Level.FLUSHED, Level.WRITE_THROUGH,
             Level.FILESYSTEM],
            sorted(reversed(list(Level))))

    @ddt.data('crash', 'flushed', 'write-through', 'filesystem')
    def test_names_are_those_of_the_documentation(self, name: str) -> None:
        self.assertEqual(name, Level(name).value)


class EvidenceTest(base.TestCase):

    def test_lowering_changes_the_claim_and_says_why(self) -> None:
        proof = claims.Claim(Level.FILESYSTEM, 'before')
        lowered = proof.lowered(Level.FLUSHED, 'late')
        self.assertEqual((Level.FLUSHED, 'late'),
                         (lowered.level, lowered.reason))

    def test_lowering_never_raises_a_claim(self) -> None:
        proof = claims.Claim(Level.CRASH, 'no agent')
        self.assertEqual(proof, proof.lowered(Level.FLUSHED, 'late'))

    def test_a_remark_leaves_the_claim(self) -> None:
        proof = claims.Claim(Level.WRITE_THROUGH).with_remark('spans')
        self.assertEqual((Level.WRITE_THROUGH, 'spans'),
                         (proof.level, proof.reason))

    def test_metadata_has_the_documented_keys(self) -> None:
        proof = claims.Claim(
            Level.FILESYSTEM, 'a reason', 'write_through',
            {'xfs': 1, 'ext4': 2}, window_ms=812).with_freeze(48)
        self.assertEqual({
            'wt:level': 'filesystem',
            'wt:method': 'write_through+freeze',
            'wt:window_ms': '812',
            'wt:freeze_ms': '48',
            'wt:filesystems': 'ext4=2,xfs=1',
            'wt:reason': 'a reason',
        }, proof.as_metadata())

    def test_metadata_leaves_out_what_there_is_not(self) -> None:
        self.assertEqual(
            {'wt:level': 'crash', 'wt:method': 'none', 'wt:window_ms': '0'},
            claims.Claim(Level.CRASH).as_metadata())

    def test_metadata_is_ascii_of_at_most_255_characters(self) -> None:
        proof = claims.Claim(Level.CRASH, 'é' * 300,
                             filesystems={'x' * 300: 1})
        for value in proof.as_metadata().values():
            self.assertTrue(value.isascii())
            self.assertLessEqual(len(value), 255)

    def test_metadata_reads_back(self) -> None:
        proof = claims.Claim(
            Level.WRITE_THROUGH, 'a reason', 'write_through', {'ext4': 2},
            window_ms=5, freeze_ms=3)
        self.assertEqual(
            proof, claims.Claim.from_metadata(proof.as_metadata()))

    def test_metadata_without_a_level_is_no_evidence(self) -> None:
        self.assertRaises(KeyError, claims.Claim.from_metadata,
                          {'wt:method': 'freeze'})


class WorstTest(base.TestCase):

    def test_the_lowest_claim_counts_with_its_reason(self) -> None:
        worst = claims.worst([
            claims.Claim(Level.FILESYSTEM, method='freeze'),
            claims.Claim(Level.CRASH, 'no agent')])
        self.assertEqual((Level.CRASH, 'no agent', 'none'),
                         (worst.level, worst.reason, worst.method))

    def test_filesystems_add_up_and_the_longest_time_counts(self) -> None:
        worst = claims.worst([
            claims.Claim(Level.FLUSHED, filesystems={'ext4': 1},
                         freeze_ms=10),
            claims.Claim(Level.FLUSHED,
                         filesystems={'ext4': 2, 'xfs': 1},
                         freeze_ms=30)])
        self.assertEqual({'ext4': 3, 'xfs': 1}, worst.filesystems)
        self.assertEqual(30, worst.freeze_ms)


class WithoutTest(base.TestCase):

    def test_only_the_users_own_properties_are_left(self) -> None:
        self.assertEqual({'job': '7', 'WT:level': 'mine'}, claims.without(
            {'job': '7', 'wt:level': 'filesystem', 'WT:level': 'mine'}))

    def test_there_may_be_none(self) -> None:
        self.assertEqual({}, claims.without(None))
