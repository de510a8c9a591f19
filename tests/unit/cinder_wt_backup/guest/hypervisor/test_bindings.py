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

"""A host without libvirt's bindings is told what to install."""

import subprocess
import sys
import textwrap

import ddt

from tests.support import bounded

# As where they are not installed: who is imported again finds them missing.
WITHOUT = '''
import sys
sys.modules.update({modules})
'''
SERVICE = WITHOUT + '''
from cinder_wt_backup import exceptions
try:
    import cinder_wt_backup.driver
except exceptions.ConfigurationError as error:
    print(error, error.__cause__, error.__suppress_context__)
'''
COMMAND = WITHOUT + '''
from cinder_wt_backup.cmd import main
print(main.main(['--config-file', '/dev/null', 'check']))
'''


def python(program: str, *missing: str) -> subprocess.CompletedProcess[str]:
    """Run a program with these modules missing."""
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', textwrap.dedent(
            program.format(modules=dict.fromkeys(missing)))],
        capture_output=True, text=True)


@ddt.ddt
class MissingTest(bounded.TestCase):

    @ddt.data('libvirt', 'libvirt_qemu')
    def test_the_service_is_told_the_packages(self, missing: str) -> None:
        done = python(SERVICE, missing)
        for said in (missing, 'python3-libvirt on Debian, Ubuntu, RHEL',
                     'libvirt-python from PyPI', 'None True'):
            self.assertIn(said, done.stdout)
        self.assertEqual(1, done.stdout.count('\n'))

    def test_a_command_says_it_in_one_line(self) -> None:
        done = python(COMMAND, 'libvirt', 'libvirt_qemu')
        self.assertEqual('2\n', done.stdout)
        self.assertIn('python3-libvirt on Debian', done.stderr)
        self.assertNotIn('Traceback', done.stderr)
        self.assertEqual(1, done.stderr.count('\n'), done.stderr)
