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


"""Instances whose guest is not at work, as Nova has them."""

from tests.support.cloud import cloud
from tests.support.cloud import drivers
from tests.support.stage import stage
from tests.system import base


class StatesTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.stage.boot(stage.MEMORY_MIB)
        self.volume = self.stage.volume(1)
        self.stage.attach(self.volume)

    def test_what_is_shut_off_is_exempt_and_what_is_rescued_is_not(
            self) -> None:
        cloud.restart_backup(drivers.plugin(
            'posix', {'required_level': 'filesystem'}))
        self.stage.stop_server()
        _, metadata = self.back_up()
        self.assertEqual({}, metadata)

        cloud.restart_backup(drivers.plugin('posix'))
        self.stage.rescue_server()
        _, metadata = self.back_up()
        self.stage.unrescue_server()
        self.assertEqual('crash', metadata['wt:level'], metadata)
        self.assertIn('has no disk', metadata['wt:reason'])

    def test_what_is_suspended_is_not_exempt(self) -> None:
        cloud.restart_backup(drivers.plugin('posix'))
        self.stage.suspend_server()
        _, metadata = self.back_up()
        self.stage.resume_server()
        self.assertEqual('crash', metadata['wt:level'], metadata)
        self.assertIn('it is suspended', metadata['wt:reason'])
