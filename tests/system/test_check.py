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

"""The commands of an operator, in the real cloud."""

import os
import subprocess
from typing import Any

from oslo_serialization import jsonutils

from tests.support.cloud import cloud
from tests.support.cloud import configs
from tests.support.cloud import drivers
from tests.support.cloud import layout
from tests.system import base


class CommandsTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        cloud.restart_backup(drivers.plugin('posix'))
        self.server_with_volume()

    def run_command(self, *words: str) -> tuple[int, Any]:
        """Return the exit status and the rows."""
        done = subprocess.run(
            [layout.VENV / 'bin' / 'cinder-wt-backup', '--config-file',
             layout.CINDER_CONF, '--config-file',
             configs.backup_overlay(layout.HOST), *words, '-f', 'json'],
            capture_output=True, text=True, timeout=120,
            env=os.environ | {'PYTHONWARNINGS': 'ignore'})
        self.assertTrue(done.stdout, done.stderr)
        return done.returncode, jsonutils.loads(done.stdout)

    def test_check_and_report(self) -> None:
        status, rows = self.run_command('check')
        self.assertEqual((0, {'success'}), (
            status, {row['result'] for row in rows}), rows)
        self.assertIn('agent commands are permitted', rows[-1]['detail'])

        status, rows = self.run_command('check', self.volume)
        self.assertEqual(0, status, rows)
        details = ' '.join(row['detail'] for row in rows)
        self.assertIn('file systems of the volume: ext4 at /mnt', details)
        self.assertIn('a backup would be made by write_through', details)

        backup, metadata = self.back_up()
        status, (row,) = self.run_command('report', '--volume', self.volume)
        self.assertEqual((0, backup, 'write-through'),
                         (status, row['backup'], row['level']))

        self.assertEqual((0, []), self.run_command('release', '--lapsed'))
