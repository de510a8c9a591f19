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
import json
from typing import Any

import ddt
import hypothesis
from hypothesis import strategies

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from tests.unit import base
from tests.unit.fixtures import agent as fake

QUICK = hypothesis.settings(deadline=None, max_examples=40, database=None)
ANY_JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.floats() | strategies.text(),
    lambda inner: strategies.lists(inner, max_size=3)
    | strategies.dictionaries(strategies.sampled_from(
        ['pid', 'exited', 'exitcode', 'out-data', 'name', 'mountpoint',
         'type', 'disk', 'serial', 'pci-controller', 'supported_commands',
         'enabled']), inner, max_size=4), max_leaves=10)


class CommandsTest(base.GuestTestCase):

    def test_what_is_enabled_is_permitted(self) -> None:
        self.domain.agent.blocked = {fake.EXEC}
        permitted = self.agent().permitted_commands()
        self.assertIn(agent.FREEZE, permitted)
        self.assertNotIn(agent.EXEC, permitted)

    def test_mounts_have_the_disks_below_them(self) -> None:
        self.domain.agent.mounts = [
            fake.mount('/mnt/a b', kind='xfs', slot=5, serial='ab94d455')]
        self.assertEqual(
            [agent.Mount('vdb', '/mnt/a b', 'xfs', frozenset(['ab94d455']),
                         frozenset(['0000:00:05.0']))],
            self.agent().mounts())

    def test_mounts_may_have_no_disk(self) -> None:
        self.domain.agent.mounts = [
            {'name': 'x', 'mountpoint': '/', 'type': 'overlay'}]
        self.assertEqual(frozenset(), self.agent().mounts()[0].serials)

    def test_a_filesystem_of_a_strange_name_is_counted_as_other(self
                                                                ) -> None:
        self.domain.agent.mounts = [fake.mount('/mnt', kind='a=1,' * 99)]
        self.assertEqual('other', self.agent().mounts()[0].kind)

    def test_freeze_and_thaw_say_how_many(self) -> None:
        guest = self.agent()
        self.domain.agent.mounts.append(fake.mount('/srv', 'vdc'))
        self.assertEqual(2, guest.freeze(['/mnt', '/srv']))
        self.assertTrue(guest.is_frozen())
        self.assertEqual(2, guest.thaw())
        self.assertFalse(guest.is_frozen())

    def test_messages_are_counted(self) -> None:
        guest = self.agent()
        guest.is_frozen()
        guest.mounts()
        self.assertEqual(2, guest.round_trips)


class RunTest(base.GuestTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.guardian.run = lambda argv, program: (0, 'one\ntwo\n')

    def run_it(self, timeout: float = 5) -> agent.Exit:
        return self.agent().run(('/bin/sh', '-c', 'x', 'y'), b'program',
                                timeout)

    def test_status_and_output_come_back(self) -> None:
        self.assertEqual(agent.Exit(0, 'one\ntwo\n'), self.run_it())

    def test_the_program_travels_as_input_and_not_in_its_arguments(
            self) -> None:
        sent = []
        answer = self.domain.agent.guest_exec
        self.domain.agent.answers[fake.EXEC] = (
            lambda **arguments: sent.append(arguments) or answer(**arguments))
        self.run_it()
        self.assertEqual('/bin/sh', sent[0]['path'])
        self.assertEqual(b'program', base64.b64decode(sent[0]['input_data']))
        self.assertNotIn('program', sent[0]['arg'])

    def test_it_is_asked_until_the_program_has_ended(self) -> None:
        answers = [{'exited': False}, {'exited': False},
                   {'exited': True, 'exitcode': 3}]
        self.domain.agent.answers[fake.STATUS] = lambda pid: answers.pop(0)
        self.assertEqual(agent.Exit(3, ''), self.run_it())

    def test_a_program_that_does_not_end_is_an_error(self) -> None:
        self.domain.agent.answers[fake.STATUS] = lambda pid: {'exited': False}
        error = self.assertRaises(exceptions.AgentError, self.run_it, 0.1)
        self.assertIn('did not end within', str(error))

    def test_in_a_guest_that_was_frozen_none_is_started(self) -> None:
        self.domain.agent.frozen = ['/mnt']
        self.assertRaises(exceptions.GuestFrozen, self.run_it)

    def test_an_agent_that_does_not_say_so_is_not_frozen(self) -> None:
        self.domain.agent.blocked = {fake.EXEC, fake.FREEZE_STATUS}
        self.assertRaises(exceptions.ProgramNotStarted, self.run_it)

    def test_a_program_that_is_not_there_was_not_started(self) -> None:
        def refuse(**_arguments: Any) -> None:
            raise fake.Refused('No such file or directory')
        self.domain.agent.answers[fake.EXEC] = refuse
        error = self.assertRaises(exceptions.ProgramNotStarted, self.run_it)
        self.assertIn('No such file', str(error))

    def test_an_end_that_is_not_told_is_no_start_that_failed(self) -> None:
        def refuse(pid: int) -> None:
            raise fake.Refused('Invalid parameter')
        self.domain.agent.answers[fake.STATUS] = refuse
        error = self.assertRaises(exceptions.AgentRefused, self.run_it)
        self.assertNotIsInstance(error, exceptions.ProgramNotStarted)

    def test_its_end_is_heard_after_a_freeze_by_somebody_else(self) -> None:
        refused: list[int] = []

        def freeze(pid: int) -> Any:
            self.domain.agent.frozen = [] if len(refused) > 1 else ['/mnt']
            refused.append(pid)
            if self.domain.agent.frozen:
                raise fake.Refused('the agent is in frozen state')
            return self.domain.agent.guest_exec_status(pid)
        self.domain.agent.answers[fake.STATUS] = freeze
        self.domain.agent.permits = lambda name: True
        self.assertEqual(0, self.run_it().status)
        self.assertEqual(3, len(refused))

    def test_a_freeze_that_does_not_end_is_an_error(self) -> None:
        def freeze(pid: int) -> None:
            self.domain.agent.frozen = ['/mnt']
            raise fake.Refused('the agent is in frozen state')
        self.domain.agent.answers[fake.STATUS] = freeze
        error = self.assertRaises(exceptions.AgentError, self.run_it, 0.1)
        self.assertIn('did not end within', str(error))

    def test_a_killed_program_is_an_error(self) -> None:
        self.domain.agent.answers[fake.STATUS] = (
            lambda pid: {'exited': True, 'signal': 9})
        self.assertRaises(exceptions.AgentError, self.run_it)

    def test_output_that_is_no_text_does_no_harm(self) -> None:
        self.domain.agent.answers[fake.STATUS] = (
            lambda pid: {'exited': True, 'exitcode': 0, 'out-data': '/w=='})
        self.assertEqual('\ufffd', self.run_it().output)


@ddt.ddt
class HostileAnswersTest(base.GuestTestCase):
    """What a guest answers is the guest's: an AgentError at the worst."""

    def answer(self, text: str) -> None:
        for name in fake.COMMANDS:
            self.domain.agent.answers[name] = lambda **_: fake.Raw(text)

    def call_all(self) -> None:
        guest = self.agent()
        for call in (guest.permitted_commands, guest.mounts, guest.is_frozen,
                     guest.thaw, lambda: guest.freeze(['/mnt']),
                     lambda: guest.run(('/bin/true',), b'', 0.02)):
            try:
                call()
            except exceptions.AgentError:
                pass

    @ddt.data('', 'null', '[]', '{}', '{"return": ', '"return"',
              '{"error": {"class": "GenericError"}}', '[' * 5000,
              '{"return": ' + '9' * 5000 + '}', '{"return": NaN}')
    def test_what_is_no_answer_is_an_error(self, text: str) -> None:
        self.answer(text)
        self.assertRaises(exceptions.AgentError,
                          self.agent().permitted_commands)
        self.call_all()

    @ddt.data('{"return": true}', '{"return": "1"}', '{"return": null}',
              '{"return": 1.0}', '{"return": {}}')
    def test_a_count_is_an_integer(self, text: str) -> None:
        self.answer(text)
        self.assertRaises(exceptions.AgentError, self.agent().thaw)

    def test_an_endless_answer_is_not_read(self) -> None:
        self.answer(json.dumps({'return': ['x' * (1 << 20)]}))
        self.assertRaises(exceptions.AgentError, self.agent().mounts)

    def test_endless_mounts_are_an_error(self) -> None:
        self.domain.agent.mounts = [
            {'name': 'a', 'mountpoint': '/', 'type': 'x'}] * 4097
        self.assertRaises(exceptions.AgentError, self.agent().mounts)

    @QUICK
    @hypothesis.given(ANY_JSON)
    def test_any_json_is_understood_or_an_error(self, value: Any) -> None:
        self.answer(json.dumps({'return': value}))
        self.call_all()

    @QUICK
    @hypothesis.given(strategies.text())
    def test_any_text_is_understood_or_an_error(self, text: str) -> None:
        self.answer(text)
        self.call_all()
