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
        self.machine, self.boot, self.pid, self.start = (
            owners.this_process().split('/'))

    def elsewhere(self, machine: str = 'other', boot: str = 'other') -> None:
        """Be on another machine, or in another boot."""
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for name, value in (('MACHINE', machine), ('BOOT', boot)):
            (folder / name).write_text(f'{value}\n')
            self.useFixture(fixtures.MonkeyPatch(
                f'cinder_wt_backup.service.owners.{name}', folder / name))

    def test_this_one_is_there(self) -> None:
        self.assertFalse(owners.is_gone(owners.this_process()))

    def test_one_that_ended_is_gone(self) -> None:
        other = subprocess.Popen(['/bin/sleep', '60'])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        named = '/'.join((self.machine, self.boot, str(other.pid),
                          owners._start_of(str(other.pid))))
        self.assertFalse(owners.is_gone(named))
        other.kill()
        while owners._start_of(str(other.pid)):     # until it is a zombie
            time.sleep(0.01)
        self.assertTrue(owners.is_gone(named))

    def test_another_with_the_same_number_is_not_it(self) -> None:
        self.assertTrue(owners.is_gone(
            f'{self.machine}/{self.boot}/{self.pid}/{int(self.start) + 1}'))

    def test_one_of_an_earlier_boot_is_gone(self) -> None:
        mine = owners.this_process()
        self.elsewhere(machine=self.machine)
        self.assertTrue(owners.is_gone(mine))

    def test_nothing_is_known_of_another_machine(self) -> None:
        mine = owners.this_process()
        self.elsewhere()
        self.assertFalse(owners.is_gone(mine))

    def test_a_container_without_an_id_knows_its_boot_only(self) -> None:
        self.elsewhere(machine='', boot=self.boot)
        mine = owners.this_process()
        self.assertFalse(owners.is_gone(mine))
        self.assertTrue(owners.is_gone(f'/{self.boot}/{self.pid}/1'))
        self.elsewhere(machine='')
        self.assertFalse(owners.is_gone(mine))

    def test_nobody_is_gone(self) -> None:
        self.assertTrue(owners.is_gone(''))

    @ddt.data('1/1', 'x', '///', '/' * 300, '\0/\0/\0')
    def test_nothing_is_known_of_what_is_no_owner(self, text: str) -> None:
        self.assertFalse(owners.is_gone(text))
