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

import io
from types import SimpleNamespace

import fixtures
from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from cinder_wt_backup.cmd import status
from cinder_wt_backup import conf
from tests.unit.cinder_wt_backup.cmd import base as commands


class StatusTest(commands.CommandTestCase):
    """As upgrade tools of OpenStack's run it."""

    options = ('libvirt_hosts = compute1',)

    def run_check(self) -> tuple[int, str]:
        # Its command line is oslo's; an option object can be parsed once.
        cfg.CONF([], project='cinder', default_config_files=[self.config])
        conf.register(cfg.CONF)
        out = io.StringIO()
        with (fixtures.MonkeyPatch('sys.stdout', out),
              fixtures.MonkeyPatch(
                  'oslo_upgradecheck.upgradecheck.CONF', SimpleNamespace(
                      command=SimpleNamespace(json=True)))):
            return int(status.Checks().check()), out.getvalue()

    def test_all_is_well(self) -> None:
        self.attached()
        code, out = self.run_check()
        self.assertEqual(0, code, out)
        self.assertEqual({upgradecheck.Code.SUCCESS}, {
            each['result'] for each in self.loads(out)['checks']})

    def test_a_host_that_is_away_is_a_failure(self) -> None:
        code, out = self.run_check()
        self.assertEqual(2, code)
        self.assertIn('nothing listens', out)
