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


@ddt.ddt
class ClaimTest(base.TestCase):

    def test_lowering_changes_the_claim_and_says_why(self) -> None:
        claim = claims.Claim(Level.FILESYSTEM, 'before')
        lowered = claim.lowered(Level.FLUSHED, 'late')
        self.assertEqual((Level.FLUSHED, 'late'),
                         (lowered.level, lowered.reason))

    def test_lowering_never_raises_a_claim(self) -> None:
        claim = claims.Claim(Level.CRASH, 'no agent')
        self.assertEqual(claim, claim.lowered(Level.FLUSHED, 'late'))

    def test_a_remark_leaves_the_claim(self) -> None:
        claim = claims.Claim(Level.WRITE_THROUGH).with_remark('spans')
        self.assertEqual((Level.WRITE_THROUGH, 'spans'),
                         (claim.level, claim.reason))

    def test_what_lowers_it_lowers_what_is_beneath_a_freeze(self) -> None:
        claim = claims.Claim(Level.FILESYSTEM, beneath=Level.WRITE_THROUGH)
        self.assertEqual(Level.FLUSHED,
                         claim.lowered(Level.FLUSHED, 'late').beneath)
        self.assertEqual(Level.WRITE_THROUGH, claim.lowered(
            Level.WRITE_THROUGH, 'no barrier').beneath)

    @ddt.data((Level.WRITE_THROUGH, Level.WRITE_THROUGH),
              (Level.FLUSHED, Level.FLUSHED), (Level.CRASH, Level.CRASH),
              (None, Level.FLUSHED))
    @ddt.unpack
    def test_without_its_freeze_what_is_beneath_holds(
            self, beneath: Level | None, level: Level) -> None:
        claim = claims.Claim(Level.FILESYSTEM, beneath=beneath)
        self.assertEqual((level, 'replay'), (
            claim.without_freeze('replay').level,
            claim.without_freeze('replay').reason))

    def test_text_of_others_is_plain_and_bounded(self) -> None:
        claim = claims.Claim(Level.CRASH, 'é\n\x1b' + 'x' * 3000, filesystems={
            f'kind{number:03}': 2 for number in range(100)})
        self.assertTrue(claim.reason.isascii() and claim.reason.isprintable())
        self.assertEqual(claims.MAX_REASON, len(claim.reason))
        self.assertEqual(claims.MAX_KINDS, len(claim.filesystems))
        self.assertEqual(200, sum(claim.filesystems.values()))

    def test_json_reads_back(self) -> None:
        for claim in (claims.Claim(Level.CRASH), claims.Claim(
                Level.FILESYSTEM, 'a reason', 'write_through', {'ext4': 2},
                Level.WRITE_THROUGH, 5, 3, 'clean')):
            self.assertEqual(claim, claims.Claim.from_json(claim.to_json()))


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

    def test_the_lowest_beneath_counts(self) -> None:
        worst = claims.worst([
            claims.Claim(Level.FILESYSTEM, beneath=Level.FLUSHED),
            claims.Claim(Level.FILESYSTEM, beneath=Level.WRITE_THROUGH)])
        self.assertEqual(Level.FLUSHED, worst.beneath)
