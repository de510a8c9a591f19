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


"""A representative part of what ``make matrix`` shows."""

import ddt

from tests.functional import base
from tests.support.matrix import cases
from tests.support.matrix import run

# What no other test here is about; make matrix has all.
NAMES = ('md RAID 1 over two volumes', 'LVM in LUKS, with a barrier',
         'swap beside a file system', 'ext4 and vfat, with a barrier',
         'suspended')


@ddt.ddt
class MatrixTest(base.TestCase):

    @ddt.data(*NAMES)
    def test_a_case_of_the_matrix_reaches_its_level(self, name: str) -> None:
        case = next(case for case in cases.CASES if case.name == name)
        result = run.run(self.machine, case)
        self.assertEqual('', result.problem, result)
