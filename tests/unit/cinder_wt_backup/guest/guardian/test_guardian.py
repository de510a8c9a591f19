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


import ast
import base64
import json
import subprocess
from typing import Any

import ddt

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.guardian import client as guardian
from cinder_wt_backup.guest.guardian.inside import assemble
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian import report as reports
from tests.unit import base
from tests.unit.fixtures import agent as fake

UNABLE = (1, 5, 6, 7, 10, 12)
UNKNOWN = (2, 3, 8, 9, 11, 126, 127, 137)


class GuardianTestCase(base.GuestTestCase):

    def made(self, token: str = base.TOKEN, timeout: int = 5
             ) -> guardian.Guardian:
        return guardian.Guardian(self.agent(), token, timeout)

    def start(self, **values: Any) -> reports.Start:
        return self.made().start(guardian.StartRequest(**{
            'volume': base.VOLUME, 'address': '0000:00:04.0', 'lease': 60,
            'drain': 1, **values}))

    def release(self) -> reports.End:
        return self.made().release()

    def sent(self, call: Any) -> dict[str, Any]:
        """Return the arguments of guest-exec in a call."""
        sent: list[dict[str, Any]] = []
        answer = self.domain.agent.guest_exec
        self.domain.agent.answers[fake.EXEC] = (
            lambda **arguments: sent.append(arguments) or answer(**arguments))
        call()
        del self.domain.agent.answers[fake.EXEC]
        found, = sent
        return found


@ddt.ddt
class RequestTest(GuardianTestCase):

    def test_a_start_says_all_that_the_program_needs(self) -> None:
        self.start(freeze=23, barrier='unflagged')
        self.assertEqual([('start', {
            'version': protocol.VERSION, 'token': base.TOKEN, 'limit': 9,
            'volume': base.VOLUME, 'address': '0000:00:04.0', 'lease': 60,
            'drain': 1, 'freeze': 23, 'barrier': 'unflagged',
            'pulse': 'needed'})], self.guardian.arguments)

    def test_a_disk_without_an_address(self) -> None:
        self.start(address=None)
        self.assertEqual('', self.guardian.arguments[0][1]['address'])

    @ddt.data(('never', 'needed'), ('unflagged', 'needed'),
              ('always', 'never'))
    @ddt.unpack
    def test_writers_are_drained_once(self, barrier: str, pulse: str) -> None:
        self.start(barrier=barrier)
        self.assertEqual(pulse, self.guardian.arguments[0][1]['pulse'])

    @ddt.data('release', 'thawed')
    def test_a_short_call_says_whose_it_is(self, command: str) -> None:
        self.start()
        getattr(self.made(timeout=11), command)()
        self.assertEqual((command, {
            'version': protocol.VERSION, 'token': base.TOKEN, 'limit': 11}),
            self.guardian.arguments[1])

    def test_however_short_the_timeout_a_release_has_its_time(self) -> None:
        self.start()
        self.made(timeout=1).release()
        self.assertEqual(8, self.guardian.arguments[1][1]['limit'])

    def test_the_program_is_input_and_the_request_an_argument(self) -> None:
        for call in (self.start, self.made().thawed, self.release):
            sent = self.sent(call)
            self.assertEqual('/bin/sh', sent['path'])
            self.assertEqual(['-c', guardian.BOOT, 'guardian'],
                             sent['arg'][:3])
            self.assertEqual(5, len(sent['arg']))
            self.assertEqual(assemble.program(),
                             base64.b64decode(sent['input_data']))

    def test_what_is_sent_can_be_run(self) -> None:
        sent = self.sent(self.start)
        subprocess.run(['sh', '-n'], input=sent['arg'][1].encode(),
                       check=True)
        ast.parse(base64.b64decode(sent['input_data']))

    def test_a_window_takes_four_messages(self) -> None:
        self.start()
        self.release()
        self.assertEqual([fake.EXEC, fake.STATUS] * 2,
                         self.domain.agent.commands)


@ddt.ddt
class StartTest(GuardianTestCase):

    def test_it_reports(self) -> None:
        report = self.start()
        self.assertEqual((1024, ['flagged']), (
            report.dirty_kb, [fs.state for fs in report.filesystems]))
        self.assertEqual(base.TOKEN, self.guardian.holder)

    def test_another_window_is_open(self) -> None:
        self.guardian.holder = 'cafecafe'
        error = self.assertRaises(exceptions.GuardianBusy, self.start)
        self.assertIn(self.domain.instance, str(error))
        self.assertEqual('cafecafe', self.guardian.holder)

    @ddt.data((1, 'systemd-run or Python failed'),
              (5, 'disk was not found'), (6, 'no room in /run'),
              (7, 'no room in /run'), (10, 'no Python 3.6 with ctypes'),
              (12, 'no room in /run'))
    @ddt.unpack
    def test_what_a_guest_lacks_is_said(self, status: int, words: str
                                        ) -> None:
        self.guardian.reason = 'no room in /run'
        self.guardian.exits['start'] = [status]
        error = self.assertRaises(exceptions.GuardianUnable, self.start)
        self.assertIn(words, str(error))
        self.assertIn(self.domain.instance, str(error))
        self.assertEqual(status == 10, error.flushed)

    @ddt.data('', 'nonsense', '{"version": 1, "reason": 7}',
              '{"version": 2, "reason": "well"}')
    def test_without_a_reason_it_was_not_changed_all_the_same(
            self, text: str) -> None:
        self.guardian.exits['start'] = [7]
        self.guardian.outputs['start'] = lambda _text: text
        error = self.assertRaises(exceptions.GuardianUnable, self.start)
        self.assertIn('nothing was changed', str(error))

    def test_the_guests_words_are_made_plain(self) -> None:
        self.guardian.reason = 'no\n\x1b[2Jroom'
        self.guardian.exits['start'] = [7]
        error = self.assertRaises(exceptions.GuardianUnable, self.start)
        self.assertTrue(str(error).isprintable(), str(error))

    @ddt.data(*UNKNOWN)
    def test_any_other_end_is_no_end_without_a_change(self, status: int
                                                      ) -> None:
        self.guardian.exits['start'] = [status]
        error = self.assertRaises(exceptions.GuardianUnknown, self.start)
        self.assertIn(f'status {status}', str(error))
        self.assertIn(self.domain.instance, str(error))

    def test_every_status_is_told_apart(self) -> None:
        self.assertEqual({*protocol.Status} - {0, 4},
                         {*UNABLE, *UNKNOWN} & {*protocol.Status})
        self.assertEqual({*protocol.UNCHANGED}, {*UNABLE, 4})

    def test_a_program_that_was_not_started_changed_nothing(self) -> None:
        self.domain.agent.blocked = {fake.EXEC}
        self.assertRaises(exceptions.GuardianUnable, self.start)

    @ddt.data({'version': 2}, {'token': 'cafecafe'}, {'token': None},
              {'status': 8}, {'status': '0'}, {'status': None},
              {'filesystems': None}, {'more': 1})
    def test_a_report_of_something_else_is_refused(
            self, instead: dict[str, Any]) -> None:
        self.guardian.instead['start'] = instead
        error = self.assertRaises(exceptions.GuardianError, self.start)
        self.assertNotIsInstance(error, exceptions.GuardianUnable)

    @ddt.data(lambda text: text[:-10], lambda text: '',
              lambda text: 2 * text, lambda text: 'all is well\n' + text)
    def test_a_report_that_is_not_whole_is_refused(self, cut: Any) -> None:
        self.guardian.outputs['start'] = cut
        error = self.assertRaises(exceptions.GuardianError, self.start)
        self.assertNotIsInstance(error, exceptions.GuardianUnable)


@ddt.ddt
class ReleaseTest(GuardianTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def test_it_reports(self) -> None:
        found, = self.release().filesystems
        self.assertEqual(('flagged', 'undone'), (found.was, found.undo))
        self.assertIsNone(self.guardian.holder)

    def test_a_lease_that_had_ended_is_said(self) -> None:
        self.guardian.lapse()
        error = self.assertRaises(exceptions.GuardianLapsed, self.release)
        self.assertIn(self.domain.instance, str(error))

    def test_also_by_a_whole_report(self) -> None:
        self.guardian.released = False
        self.assertRaises(exceptions.GuardianLapsed, self.release)

    def test_another_windows_token_releases_nothing(self) -> None:
        self.assertRaises(exceptions.GuardianLapsed,
                          self.made('cafecafe').release)
        self.assertEqual(base.TOKEN, self.guardian.holder)

    @ddt.data('frozen', 'stuck', 'unknown')
    def test_what_is_stuck_is_in_the_report(self, undo: str) -> None:
        self.guardian.filesystems[0].undo = undo
        self.assertEqual(['254:16'],
                         [fs.number for fs in self.release().stuck])
        self.assertEqual(base.TOKEN, self.guardian.holder)
        self.guardian.filesystems[0].undo = None
        self.assertEqual([], self.release().stuck)
        self.assertIsNone(self.guardian.holder)

    def test_stuck_without_file_systems_it_is_to_be_tried_again(self
                                                                ) -> None:
        self.guardian.exits['release'] = [8]
        self.guardian.reason = 'the supervisor is at it'
        error = self.assertRaises(exceptions.GuardianStuck, self.release)
        self.assertIn('the supervisor is at it', str(error))
        self.assertIn(self.domain.instance, str(error))

    @ddt.data(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 126, 127, 137)
    def test_any_other_end_may_have_left_it_changed(self, status: int
                                                    ) -> None:
        self.guardian.exits['release'] = [status]
        error = self.assertRaises(exceptions.GuardianStuck, self.release)
        self.assertIn(f'status {status}', str(error))

    @ddt.data({'version': 2}, {'token': 'cafecafe'}, {'status': 8},
              {'released': False}, {'released': None}, {'mounts': None},
              {'more': 1})
    def test_a_report_of_something_else_may_have_left_it_changed(
            self, instead: dict[str, Any]) -> None:
        self.guardian.instead['release'] = instead
        self.assertRaises(exceptions.GuardianStuck, self.release)

    @ddt.data(lambda text: text[:-10], lambda text: '',
              lambda text: json.dumps({'version': 1, 'status': 0,
                                       'token': base.TOKEN, 'reason': ''}))
    def test_a_report_that_is_not_whole_may_have_left_it_changed(
            self, cut: Any) -> None:
        self.guardian.outputs['release'] = cut
        self.assertRaises(exceptions.GuardianStuck, self.release)


@ddt.ddt
class ThawedTest(GuardianTestCase):

    def test_it_is_heard(self) -> None:
        self.start()
        self.made().thawed()
        self.assertEqual(['start', 'thawed'], self.guardian.commands)
        self.assertEqual(base.TOKEN, self.guardian.holder)

    def test_where_the_lease_had_ended_it_does_not_matter(self) -> None:
        self.made().thawed()
        self.assertEqual(['thawed'], self.guardian.commands)

    @ddt.data(1, 2, 8, 9, 12, 127)
    def test_what_was_not_heard_is_an_error(self, status: int) -> None:
        self.guardian.exits['thawed'] = [status]
        error = self.assertRaises(exceptions.GuardianError,
                                  self.made().thawed)
        self.assertIn(f'status {status}', str(error))
