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

import random
import time

from tests.support.cloud import console
from tests.support.faults import faults
from tests.support.faults import run
from tests.support.faults import scene as scenes
from tests.system import base

STRUCK = (('cinder-backup killed', 'starting'),
          ('worker killed', 'engaged'),
          ('libvirtd killed', 'passed'),
          ('agent silent', 'releasing'),
          ('frozen by the admin', 'releasing'),
          ('backup force-deleted', 'cast'))
AT_RANDOM = 2


class FaultsTest(base.TestCase):

    def test_a_fault_in_a_backup_leaves_nothing_behind(self) -> None:
        scene = scenes.Scene(self.stage)
        named = {fault.name: fault for fault in faults.FAULTS}
        results = [run.at_step(scene, named[name], step, verify=True)
                   for name, step in STRUCK]
        seed = int(time.time())
        console.say(f'random faults of seed {seed}')
        chance = random.Random(seed)
        results += [run.at_random(scene, chance) for _ in range(AT_RANDOM)]
        self.assertEqual([], [result for result in results
                              if result.problem])
