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

"""A volume as a temporary directory, filled by the real writers."""

import pathlib

import fixtures

from tests.support import bounded
from tests.support.workload.inside import acks
from tests.support.workload.inside import checker
from tests.support.workload.inside import writers

RUN = 'this run'
FILES = 3
COUNT = 20


class WorkloadTestCase(bounded.TestCase):
    """Each test has a directory with COUNT records and COUNT rows."""

    def setUp(self) -> None:
        super().setUp()
        self.volume = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.state = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        writers.write_records(self.volume, self.log('records'), RUN, FILES,
                              range(COUNT))
        writers.write_rows(self.volume, self.log('rows'), RUN,
                           self.state / 'records', range(COUNT))

    def log(self, name: str) -> acks.Log:
        """Open the log of one writer's acknowledgements."""
        log = acks.Log(self.state / name)
        self.addCleanup(log.close)
        return log

    def promise(self) -> checker.Promise:
        """What the writers were really acknowledged."""
        return checker.Promise(RUN, FILES,
                               records=acks.count(self.state / 'records'),
                               rows=acks.count(self.state / 'rows'))
