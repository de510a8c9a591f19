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


"""One row of ``make drivers``; the other tests here are about posix and ceph.

Also the mode that those do not have: native threads, several processes.
"""

from tests.support.cloud import resources
from tests.support.drivers import rows
from tests.support.stage import stage
from tests.system import base


class DriversTest(base.TestCase):

    def test_s3_with_native_threads_does_what_stock_does(self) -> None:
        self.stage.boot(stage.MEMORY_MIB)
        cells = rows.row(self.stage, rows.Setting(
            's3', resources.VOLUME_TYPE, threads=True, workers=rows.SEVERAL))
        self.assertEqual([], [cell for cell in cells
                              if cell.startswith(rows.FAILED)])
