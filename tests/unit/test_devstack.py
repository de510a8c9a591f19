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

"""The DevStack plugin, with imitations of the functions of DevStack's."""

import pathlib
import subprocess

import ddt
import fixtures

from tests.support import bounded

FOLDER = pathlib.Path(__file__).parents[2] / 'devstack'
OURS = 'cinder_wt_backup.driver.WriteThroughBackupDriver'
CEPH = 'cinder.backup.drivers.ceph.CephBackupDriver'
# What DevStack's own do, with a line "section name = value" each.
DEVSTACK = r'''
set -eu
DEST=/opt/stack
define_plugin() { echo "plugin $1"; }
is_service_enabled() { [[ "$1" == "$SERVICE" ]]; }
setup_develop() { echo "setup $*"; }
cinder-wt-backup() { echo "command $*"; }
iniget() { sed -n "s/^$2 $3 = //p" "$1"; }
iniset() { sed -i "/^$2 $3 = /d" "$1"; echo "$2 $3 = $4" >> "$1"; }
source settings
source plugin.sh "$@"
'''


@ddt.ddt
class PluginTest(bounded.TestCase):

    def setUp(self) -> None:
        super().setUp()
        folder = self.useFixture(fixtures.TempDir())
        self.config = pathlib.Path(folder.join('cinder.conf'))
        self.config.write_text(f'DEFAULT backup_driver = {CEPH}\n')

    def plugin(self, *phase: str, **variables: str) -> list[str]:
        """Return what it said."""
        done = subprocess.run(
            ['bash', '-c', DEVSTACK, 'bash', *phase], cwd=FOLDER, text=True,
            capture_output=True, env={'PATH': '/usr/bin:/bin', 'SERVICE':
                                      'c-bak', 'CINDER_CONF': str(self.config),
                                      **variables})
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        return done.stdout.splitlines()

    def options(self) -> dict[str, str]:
        return dict(line.split(' = ')
                    for line in self.config.read_text().splitlines())

    def test_it_is_installed_with_the_packages_it_needs(self) -> None:
        self.assertEqual(['plugin cinder-wt-backup', 'setup -bindep '
                          '/opt/stack/cinder-wt-backup'],
                         self.plugin('stack', 'install'))

    @ddt.data((f'DEFAULT backup_driver = {CEPH}\n', CEPH),
              ('', 'cinder.backup.drivers.swift.SwiftBackupDriver'))
    @ddt.unpack
    def test_the_configured_driver_is_wrapped(self, before: str,
                                              wrapped: str) -> None:
        self.config.write_text(before)
        for _again in range(2):
            self.plugin('stack', 'post-config')
            self.assertEqual({
                'DEFAULT backup_driver': OURS,
                'write_through wrapped_driver': wrapped,
                'write_through libvirt_uri': 'qemu:///system',
            }, self.options())

    def test_other_hosts_are_named(self) -> None:
        self.plugin('stack', 'post-config', CINDER_WT_BACKUP_LIBVIRT_URI='x',
                    CINDER_WT_BACKUP_LIBVIRT_HOSTS='a,b:10.0.0.2')
        found = self.options()
        self.assertEqual(('x', 'a,b:10.0.0.2'), (
            found['write_through libvirt_uri'],
            found['write_through libvirt_hosts']))

    def test_the_way_to_the_hosts_is_checked(self) -> None:
        self.assertIn(f'command --config-file {self.config} check',
                      self.plugin('stack', 'test-config'))

    @ddt.data(('stack', 'install'), ('stack', 'post-config'), ('unstack',))
    def test_without_cinder_backup_nothing_is_done(self, phase: tuple[
            str, ...]) -> None:
        before = self.options()
        self.assertEqual(['plugin cinder-wt-backup'],
                         self.plugin(*phase, SERVICE='c-vol'))
        self.assertEqual(before, self.options())
