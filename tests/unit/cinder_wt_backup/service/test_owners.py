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

import pathlib
import subprocess
import time

import ddt
import fixtures

from cinder_wt_backup.service import owners
from tests.unit import base


@ddt.ddt
class OwnersTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.pid, self.start, self.boot = owners.this_process().split('/')

    def elsewhere(self) -> None:
        """Be in another boot, or on another machine."""
        boot = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'boot')
        boot.write_text('other\n')
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.service.owners.BOOT', boot))

    def test_this_one_is_there(self) -> None:
        self.assertFalse(owners.is_gone(owners.this_process()))

    @ddt.data('{}/{}/{}', '{}/{}')
    def test_one_that_ended_is_gone(self, form: str) -> None:
        """Also one that an earlier version named."""
        other = subprocess.Popen(['/bin/sleep', '60'])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        pid = str(other.pid)
        named = form.format(pid, owners._start_of(pid), self.boot)
        self.assertFalse(owners.is_gone(named))
        other.kill()
        while owners._start_of(pid):            # until it is a zombie
            time.sleep(0.01)
        self.assertTrue(owners.is_gone(named))

    def test_another_with_the_same_number_is_not_it(self) -> None:
        self.assertTrue(owners.is_gone(
            f'{self.pid}/{int(self.start) + 1}/{self.boot}'))

    def test_nothing_is_known_of_another_boot(self) -> None:
        mine = owners.this_process()
        self.elsewhere()
        self.assertFalse(owners.is_gone(mine))

    def test_nothing_is_known_where_nothing_can_be_seen(self) -> None:
        def read(_path: pathlib.Path) -> str:
            raise OSError(24, 'Too many open files')
        mine = owners.this_process()
        self.useFixture(fixtures.MonkeyPatch('pathlib.Path.read_text', read))
        self.assertFalse(owners.is_gone(mine))
        self.assertRaises(OSError, owners.this_process)

    def test_nobody_is_gone(self) -> None:
        self.assertTrue(owners.is_gone(''))
