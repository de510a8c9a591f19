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


"""The lease of a freeze, by the shell alone."""

import pathlib
import subprocess
import time

import ddt

from cinder_wt_backup.guest.guardian import thaw
from tests.support.loop import base


@ddt.ddt
class ThawTest(base.TestCase):

    def leave(self, disk: base.Disk, seconds: int) -> None:
        """Leave a lease behind as an agent does, and freeze."""
        began = time.monotonic()
        subprocess.run(
            ['/bin/sh', '-c', thaw.PROGRAM, 'guardian', self.token,
             str(seconds), disk.name], check=True, timeout=10,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertLess(time.monotonic() - began, seconds)
        base.run('fsfreeze', '-f', str(self.point))
        self.addCleanup(base.run, 'fsfreeze', '-u', str(self.point),
                        check=False)

    def file(self) -> pathlib.Path:
        return pathlib.Path(f'/run/cinder-wt-backup.{self.token}')

    @ddt.data('mnt', 'a b', 'a\\b', 'a\tb', '$(touch pwned)', '-u')
    def test_a_lease_thaws_what_nobody_thawed(self, name: str) -> None:
        disk = self.disk('ext4')
        base.run('umount', str(self.point))
        self.point = self.scratch / name
        self.mount(disk.device, self.point)
        self.leave(disk, 2)
        self.wait_for(lambda: not self.file().exists())
        # It fails if it is frozen no more.
        self.assertRaises(subprocess.CalledProcessError, base.run,
                          'fsfreeze', '-u', str(self.point))

    def test_a_lease_that_was_removed_thaws_nothing(self) -> None:
        self.leave(self.disk('ext4'), 2)
        subprocess.run(['/bin/sh', '-c', thaw.REMOVE, 'guardian',
                        self.token], check=True)
        time.sleep(3)
        base.run('fsfreeze', '-u', str(self.point))

    def test_a_lease_thaws_no_other_disk(self) -> None:
        other = base.Disk(self, 24)
        self.disk('ext4')
        self.leave(other, 2)
        self.wait_for(lambda: not self.file().exists())
        base.run('fsfreeze', '-u', str(self.point))
