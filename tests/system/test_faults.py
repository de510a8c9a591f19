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


"""A short part of the fault matrix; `make faults` runs the whole."""

from tests.support.faults import faults
from tests.support.faults import run
from tests.support.faults import scene as scenes
from tests.system import base

# A sibling that takes over, and a backup that is gone; test_recovery has a
# service that is killed. None that others beside this would feel.
STRUCK = (('worker killed', 'engaged'), ('backup force-deleted', 'cast'))


class FaultsTest(base.TestCase):

    def test_a_fault_in_a_backup_leaves_nothing_behind(self) -> None:
        scene = scenes.Scene(self.stage)
        named = {fault.name: fault for fault in faults.FAULTS}
        results = [run.at_step(scene, named[name], step, verify=True)
                   for name, step in STRUCK]
        self.assertEqual([], [result for result in results
                              if result.problem])
