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

import fixtures

from cinder_wt_backup import steps
from tests.unit import base

Step = steps.Step


class StepsTest(base.BackupTestCase):
    """What the faults are injected at."""

    def setUp(self) -> None:
        super().setUp()
        self.reached: list[Step] = []
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.steps.reached', self.note))

    def note(self, step: Step, where: str) -> None:
        self.assertNotEqual('', where)
        self.reached.append(step)

    def test_a_backup_comes_to_each_step_in_their_order(self) -> None:
        self.create(self.backup(self.attached()))
        self.assertEqual([step for step in Step if step is not Step.FROZEN],
                         self.reached)

    def test_a_freeze_is_a_step_of_its_own(self) -> None:
        self.create(self.backup(self.attached(
            metadata={'wt:policy': 'no-exec'})))
        self.assertEqual([step for step in Step if step not in (
            Step.STARTING, Step.RELEASING)], self.reached)

    def test_a_volume_that_nobody_has_comes_to_none_of_a_window(self) -> None:
        self.create(self.backup(self.volume()))
        self.assertEqual([Step.STORING], self.reached)
