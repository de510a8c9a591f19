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

"""What the tests of the commands share."""

import io
import json
from typing import Any

import fixtures

from cinder_wt_backup.cmd import main
from cinder_wt_backup import conf
from tests.unit import base
from tests.unit.fixtures import cinder


class CommandTestCase(base.CinderTestCase):
    """What an operator types, with Cinder's options in a file."""

    options = ('libvirt_hosts = compute1,compute2', 'agent_timeout = 5')

    def setUp(self) -> None:
        super().setUp()
        self.config = self.useFixture(fixtures.TempDir()).join('cinder.conf')
        self.configure(*self.options)

    def configure(self, *lines: str) -> None:
        with open(self.config, 'w') as file:
            file.write('\n'.join([
                '[DEFAULT]', f'backup_driver = {conf.DRIVER}',
                '[write_through]', f'wrapped_driver = {cinder.WRAPPED}',
                *lines, '']))

    def run_command(self, *words: str) -> tuple[int, str, str]:
        """Return the exit status and what was said on stdout, stderr."""
        out, err = io.StringIO(), io.StringIO()
        with (fixtures.MonkeyPatch('sys.stdout', out),
              fixtures.MonkeyPatch('sys.stderr', err)):
            status = main.main([
                *(('--config-file', self.config) if self.config else ()),
                *words])
        return status, out.getvalue(), err.getvalue()

    def rows(self, *words: str) -> list[dict[str, Any]]:
        status, out, _err = self.run_command(*words, '-f', 'json')
        self.assertEqual(0, status)
        return json.loads(out)

    @staticmethod
    def loads(text: str) -> Any:
        return json.loads(text)


def page_of(number: int) -> fixtures.MonkeyPatch:
    """Have so many backups read from the database at a time."""
    return fixtures.MonkeyPatch('cinder_wt_backup.cmd.report.PAGE', number)
