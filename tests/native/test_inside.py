#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""A part of ``make inside``: calls of the program go wrong, one at a time."""

import os

import ddt

from tests.support import bounded
from tests.support.loop import trial

Fault = trial.Fault


@ddt.ddt
class InsideTest(bounded.TestCase):
    """Each of some places, evenly spread, in a window of its own."""

    @ddt.data((Fault.FAILS, 12), (Fault.KILLED, 12), (Fault.ALL_KILLED, 12),
              (Fault.HANGS, 4))
    @ddt.unpack
    def test_a_call_that_goes_wrong_makes_no_claim_false(
            self, fault: trial.Fault, number: int) -> None:
        if os.getuid():
            self.skipTest('not root')
        places = trial.places()
        step = len(places) // number
        tried = [(str(place), trial.attempt(place, fault))
                 for place in places[len(places) % step::step]]
        self.assertEqual([], [(place, one.wrong) for place, one in tried
                              if one.wrong])
        # What is made at some runs only is not reached by each.
        reached = [place for place, one in tried if one.reached]
        self.assertGreater(len(reached), len(tried) / 2, tried)
