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

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.claims import metadata
from tests.unit import base

Level = claims.Level


class OfClaimTest(base.TestCase):

    def test_metadata_has_the_documented_keys(self) -> None:
        claim = claims.Claim(
            Level.FILESYSTEM, 'a reason', 'write_through',
            {'xfs': 1, 'ext4': 2}, window_ms=812).with_freeze(48)
        self.assertEqual({
            'wt:level': 'filesystem',
            'wt:method': 'write_through+freeze',
            'wt:window_ms': '812',
            'wt:freeze_ms': '48',
            'wt:filesystems': 'ext4=2,xfs=1',
            'wt:reason': 'a reason',
        }, metadata.of_claim(claim))

    def test_metadata_leaves_out_what_there_is_not(self) -> None:
        self.assertEqual(
            {'wt:level': 'crash', 'wt:method': 'none', 'wt:window_ms': '0'},
            metadata.of_claim(claims.Claim(Level.CRASH)))

    def test_metadata_is_ascii_of_at_most_255_characters(self) -> None:
        claim = claims.Claim(Level.CRASH, 'é' * 300,
                             filesystems={'x' * 300: 1})
        for value in metadata.of_claim(claim).values():
            self.assertTrue(value.isascii())
            self.assertLessEqual(len(value), 255)


class WithoutClaimTest(base.TestCase):

    def test_only_the_users_own_properties_are_left(self) -> None:
        self.assertEqual(
            {'job': '7', 'WT:level': 'mine'}, metadata.without_claim({
                'job': '7', 'wt:level': 'filesystem', 'WT:level': 'mine'}))

    def test_there_may_be_none(self) -> None:
        self.assertEqual({}, metadata.without_claim(None))
