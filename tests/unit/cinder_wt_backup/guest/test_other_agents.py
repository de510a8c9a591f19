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


"""Windows, and agents of long ago."""

from cinder_wt_backup.claims import claim as claims
from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import other_agents

Level = claims.Level


class WindowsTest(base.WindowTestCase):
    """VSS, by a freeze."""

    def setUp(self) -> None:
        super().setUp()
        self.domain.agent = other_agents.WindowsAgent(base.VOLUME)

    def test_it_is_frozen_since_it_has_no_shell(self) -> None:
        proof = self.proof(lambda: self.assertEqual(
            ['D:\\', 'E:\\'], self.domain.agent.frozen))
        self.assertEqual((Level.FILESYSTEM, 'freeze', ''),
                         (proof.level, proof.method, proof.reason))
        self.assertEqual({'NTFS': 2}, proof.filesystems)
        self.assertEqual([], self.domain.agent.frozen)

    def test_what_outlasts_the_limit_of_vss_claims_no_freeze(self) -> None:
        def lapse() -> None:
            self.domain.agent.lapsed = True
        proof = self.proof(lapse)
        self.assertEqual((Level.FLUSHED, 'freeze'),
                         (proof.level, proof.method))
        self.assertIn('limited up to 10 seconds', proof.reason)
        self.assertEqual([], self.domain.agent.frozen)

    def test_without_a_lease_it_may_be_forbidden(self) -> None:
        proof = self.proof(freeze_without_lease=False)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('No such file', proof.reason)
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)


class OldTest(base.WindowTestCase):

    def test_disks_without_serials_are_known_by_their_address(self) -> None:
        self.domain.agent = other_agents.OldAgent()
        proof = self.proof()
        self.assertEqual((Level.FILESYSTEM, 'freeze'),
                         (proof.level, proof.method))

    def test_without_serial_and_address_nothing_is_frozen(self) -> None:
        self.domain.agent = other_agents.OldAgent()
        self.domain.agent.mounts = [fake.mount('/mnt', slot=7)]
        proof = self.proof()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('sees no file system', proof.reason)

    def test_what_cannot_freeze_some_is_told_to_be_updated(self) -> None:
        self.domain.agent = other_agents.OlderAgent()
        proof = self.proof()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('update', proof.reason)
