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

import base64
import subprocess

import ddt
import hypothesis
from hypothesis import strategies

from cinder_wt_backup import exceptions
from cinder_wt_backup import guardian
from tests.unit import base
from tests.unit.fixtures import agent as fake

QUICK = hypothesis.settings(deadline=None, database=None)
GOOD_LINES = [
    'late', 'frozen', 'spans', 'held', 'swap', 'raw', 'same', 'dirty 4',
    'stuck 254:1',
    'fs 254:16 ext4 sync /mnt', r'fs 0:52 btrfs rw /a\040b']


@ddt.ddt
class ParseTest(base.TestCase):

    def test_a_whole_report_is_read(self) -> None:
        report = guardian.parse('\n'.join(
            ['dirty 1024', 'fs 254:16 ext4 sync /mnt',
             'fs 254:17 xfs nobarrier /srv', 'stuck 254:16', 'spans', 'same',
             'done']))
        self.assertEqual(guardian.Report(
            filesystems=(
                guardian.Filesystem('254:16', 'ext4', 'sync', '/mnt'),
                guardian.Filesystem('254:17', 'xfs', 'nobarrier', '/srv')),
            words=frozenset({'spans', 'same', 'done'}),
            stuck=('254:16',), dirty_kb=1024), report)

    def test_mount_points_are_what_the_kernel_escaped(self) -> None:
        report = guardian.parse('fs 1:2 ext4 rw /a\\040b\\134\\012c\ndone')
        self.assertEqual('/a b\\\nc', report.filesystems[0].mountpoint)

    @ddt.data('\u3000', '\x85', '\u2028', '\x0b')
    def test_only_the_kernels_separators_separate(self, space: str) -> None:
        report = guardian.parse(f'fs 1:2 ext4 rw /a{space}b\ndone\n')
        self.assertEqual(f'/a{space}b', report.filesystems[0].mountpoint)

    @ddt.data('', 'done\nfs 1:2 ext4 rw /', 'fs 1:2 ext4 rw /mnt', 'DONE',
              'same\ndone\n\n')
    def test_a_report_that_is_not_whole_is_refused(self, output: str) -> None:
        error = self.assertRaises(exceptions.GuardianError, guardian.parse,
                                  output)
        self.assertIn('incomplete', str(error))

    def test_an_endless_report_is_refused(self) -> None:
        self.assertRaises(exceptions.GuardianError, guardian.parse,
                          'fs 1:2 ext4 rw /\n' * 5000 + 'done')

    @ddt.data('fs 1:2 ext4 rw mnt', 'fs 1 ext4 rw /', 'fs 1:2 ext4 odd /',
              'fs 1:2 ext4 rw /a b', 'fs 1:2 e,xt4 rw /', 'dirty -1',
              'dirty 12kB', 'stuck /mnt', 'sync', ' same', 'same ')
    def test_a_line_that_no_guardian_writes_is_refused(self, line: str
                                                       ) -> None:
        error = self.assertRaises(exceptions.GuardianError, guardian.parse,
                                  line + '\ndone')
        self.assertIn('no guardian writes', str(error))

    @QUICK
    @hypothesis.given(strategies.text())
    def test_any_text_is_read_or_refused(self, output: str) -> None:
        try:
            guardian.parse(output)
        except exceptions.GuardianError:
            pass

    @QUICK
    @hypothesis.given(strategies.lists(strategies.sampled_from(GOOD_LINES)),
                      strategies.text(min_size=1))
    def test_one_strange_line_refuses_the_whole_report(
            self, lines: list[str], strange: str) -> None:
        hypothesis.assume(all(guardian.LINE.fullmatch(line) is None
                              for line in strange.split('\n')))
        self.assertRaises(exceptions.GuardianError, guardian.parse,
                          '\n'.join([*lines, strange, 'done']))


@ddt.ddt
class GuardianTest(base.GuestTestCase):

    def start(self, address: str | None = '0000:00:04.0',
              freeze: int = 0) -> guardian.Report:
        return guardian.Guardian(self.agent(), base.TOKEN, 5).start(
            base.VOLUME, address, 60, 1, freeze)

    def release(self) -> guardian.Report:
        return guardian.Guardian(self.agent(), base.TOKEN, 5).release()

    def test_start_passes_what_the_program_needs_as_arguments(self) -> None:
        self.start()
        self.assertEqual(
            [['start', base.TOKEN, base.VOLUME, '0000:00:04.0', '60', '1',
              '-', 'always']], self.guardian.arguments)

    def test_a_disk_without_an_address_and_a_barrier_are_said(self) -> None:
        self.start(address=None, freeze=23)
        self.assertEqual(['-', '60', '1', '23', 'always'],
                         self.guardian.arguments[0][3:])

    def test_start_and_release_report(self) -> None:
        self.assertEqual(1024, self.start().dirty_kb)
        self.assertIn('same', self.release().words)
        self.assertIsNone(self.guardian.holder)

    def test_a_window_takes_four_messages(self) -> None:
        self.start()
        self.release()
        self.assertEqual([fake.EXEC, fake.STATUS] * 2,
                         self.domain.agent.commands)

    @ddt.data((4, exceptions.GuardianBusy, 'another window is open'),
              (5, exceptions.GuardianError, 'disk was not found'),
              (6, exceptions.GuardianError, 'it was not changed'),
              (2, exceptions.GuardianError, 'status 2'),
              (127, exceptions.GuardianError, 'status 127'))
    @ddt.unpack
    def test_how_start_failed_is_said(self, status: int, kind: type,
                                      words: str) -> None:
        self.guardian.exits['start'] = [status]
        error = self.assertRaises(kind, self.start)
        self.assertIn(words, str(error))
        self.assertIn(self.domain.instance, str(error))

    def test_a_lease_that_had_ended_is_said(self) -> None:
        self.start()
        self.guardian.lapse()
        self.assertRaises(exceptions.GuardianLapsed, self.release)

    def test_another_windows_token_releases_nothing(self) -> None:
        self.start()
        other = guardian.Guardian(self.agent(), 'cafe', 5)
        self.assertRaises(exceptions.GuardianLapsed, other.release)
        self.assertEqual(base.TOKEN, self.guardian.holder)

    def test_what_is_sent_are_shell_programs(self) -> None:
        sent = []
        answer = self.domain.agent.guest_exec
        self.domain.agent.answers[fake.EXEC] = (
            lambda **arguments: sent.append(arguments) or answer(**arguments))
        self.start()
        option, boot = sent[0]['arg'][:2]
        self.assertEqual('-c', option)
        for program in (boot.encode(),
                        base64.b64decode(sent[0]['input_data'])):
            subprocess.run(['sh', '-n'], input=program, check=True)
