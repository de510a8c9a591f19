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

"""A hostile guest: whatever its agent answers, and however.

Nothing but this package's own exceptions may come of it, nothing unbounded,
and no claim that the guest behind the agent does not bear out.
"""

import base64
import json
import threading
import time
from typing import Any

import hypothesis
from hypothesis import strategies

from cinder_wt_backup import agent
from cinder_wt_backup import evidence
from cinder_wt_backup import exceptions
from cinder_wt_backup import guardian
from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import libvirt

Level = evidence.Level
QUICK = hypothesis.settings(
    deadline=None, database=None, derandomize=True, max_examples=60,
    suppress_health_check=list(hypothesis.HealthCheck))

# JSON has all of them: long numbers, NaN, lone surrogates, any key.
KEYS = ('pid', 'exited', 'exitcode', 'out-data', 'name', 'mountpoint', 'type',
        'disk', 'serial', 'pci-controller', 'domain', 'bus', 'slot',
        'function', 'supported_commands', 'enabled')
HUGE = (2 ** 63, -2 ** 63, 10 ** 4000, -10 ** 4000, -1, 0)
STRANGE = ('; touch /run/pwned', '-o bind', '\n', '/' * 4096, '\ud800', '\0',
           'frozen', 'ZG9uZQo=', fake.EXEC)
TEXT = strategies.text(strategies.characters(codec=None), max_size=20)
SCALAR = (strategies.none() | strategies.booleans() | strategies.integers()
          | strategies.floats() | TEXT
          | strategies.sampled_from(HUGE + STRANGE))
VALUE = strategies.recursive(
    SCALAR, lambda inner: strategies.lists(inner, max_size=3)
    | strategies.dictionaries(strategies.sampled_from(KEYS), inner,
                              max_size=4), max_leaves=10)


def deep(depth: int, inside: str = '') -> str:
    """Return JSON that is nested so deep."""
    return depth * '[' + inside + depth * ']'


# What no json.dumps writes.
UNUSUAL = strategies.sampled_from(
    [deep(depth) for depth in (90, 900, 990, 1000, 5000, 100000)]
    + ['9' * 4301, '-' + '9' * 99999, '1e999', '-Infinity', 'NaN',
       '{"pid": 1e400}', '"\\ud800"', '"\\u0000"', '{"a": 1, "a": 2}'])
ANSWER = (VALUE.map(lambda value: json.dumps({'return': value}))
          | UNUSUAL.map('{{"return": {}}}'.format)
          | UNUSUAL.map('{{"return": {{"supported_commands": [{{"enabled": '
                        'true, "name": {}}}]}}}}'.format)
          | UNUSUAL | TEXT | strategies.text()).map(fake.Raw)

# Lines of a report, well-formed and nearly.
LINE = strategies.sampled_from([
    'late', 'same', 'raw', 'done', 'dirty 4', 'stuck 254:1', 'dirty ١',
    'stuck ٣:1', 'fs 254:16 ext4 sync /mnt', 'fs 0:52 btrfs rw /a\\040b',
    'fs 1:2 ext4 sync /; touch /run/pwned', 'fs 1:2 ext4 sync -o\\040bind',
    'fs 1:2 ext4 sync /' + 'x' * 4096, 'fs 1:2 ext4 sync /\\012/etc',
    'fs 1:2 ext4 sync /\\377\\000\r', 'fs 1:2 ext4\n sync /']) | TEXT
REPORT = (strategies.lists(LINE, max_size=6).map(
    lambda lines: '\n'.join([*lines, 'done', ''])) | strategies.text())


class AnswersTest(base.GuestTestCase):
    """Of the agent: understood, or one of this package's errors."""

    def setUp(self) -> None:
        super().setUp()
        self.hostile = self.agent()

    def answer(self, *texts: str) -> None:
        """Answer so, in turns; in the end with the last of them."""
        turns = [fake.Raw(text) for text in texts]
        for name in fake.COMMANDS:
            self.domain.agent.answers[name] = lambda **_: (
                turns[0] if len(turns) == 1 else turns.pop(0))

    @QUICK
    @hypothesis.given(ANSWER)
    def test_whatever_is_answered_to_a_question(self, text: str) -> None:
        self.answer(text)
        for call in (self.hostile.permitted, self.hostile.mounts,
                     self.hostile.frozen, self.hostile.thaw,
                     lambda: self.hostile.freeze(['/mnt'])):
            try:
                self.assert_well_formed(call())
            except exceptions.WriteThroughError:
                pass

    @QUICK
    @hypothesis.given(ANSWER, ANSWER)
    def test_whatever_is_said_of_a_program(self, started: str,
                                           ended: str) -> None:
        for first in (started, '{"return": {"pid": 1}}'):
            self.answer(first, ended)
            try:
                ran = self.hostile.run(('/bin/true',), b'', 0.02)
            except exceptions.WriteThroughError:
                continue
            self.assert_well_formed(ran.status)
            self.assertIsInstance(ran.output, str)

    def assert_well_formed(self, value: Any) -> None:
        """See that nobody has to look at it again."""
        if isinstance(value, list):
            for mount in value:
                self.assertLessEqual(len(mount.mountpoint), agent.MAX_POINT)
                self.assertRegex(mount.kind, '^[A-Za-z0-9_.+-]{1,32}$')
        elif isinstance(value, frozenset):
            self.assertEqual({str}, {str, *map(type, value)})
        elif not isinstance(value, bool):
            self.assertIsInstance(value, int)
            self.assertTrue(0 <= value <= agent.MAX_NUMBER, value)


class ReportTest(base.TestCase):
    """Of the guardian: as if somebody else had written it."""

    @QUICK
    @hypothesis.given(REPORT)
    def test_a_report_is_well_formed_or_refused(self, text: str) -> None:
        try:
            report = guardian.parse(text)
        except exceptions.GuardianError:
            return
        self.assertLessEqual(len(report.filesystems), guardian.MAX_LINES)
        for fs in report.filesystems:
            self.assertEqual('/', fs.mountpoint[0])
            self.assertLessEqual(len(fs.mountpoint), 4097)
            self.assertTrue((fs.kind + fs.number).isascii())
        self.assertTrue(''.join(report.stuck).isascii())
        self.assertGreaterEqual(report.dirty_kb, 0)


class WindowTest(base.WindowTestCase):
    """Of a whole window: never an error, never more than is true."""

    def closed(self, barrier: str = 'none') -> evidence.Evidence:
        """Return what a window comes to, and see how it is put on record."""
        proof = self.proof(barrier=barrier, agent_timeout=1, drain_timeout=1,
                           lock_timeout=1)
        self.assertNotIn('unexpected error', proof.reason)
        for key, value in proof.as_metadata().items():
            self.assertTrue(key.startswith('wt:'))
            self.assertTrue(value.isascii() and value.isprintable(), value)
            self.assertLessEqual(len(value), evidence.WIDTH)
        return proof

    def answered(self, name: str, text: Any, barrier: str = 'none',
                 ) -> evidence.Evidence:
        """Return what it comes to if one command is answered so."""
        self.domain.agent = fake.GuestAgent()
        self.domain.agent.answers[name] = lambda **_: fake.Raw(text)
        return self.closed(barrier)

    def true_level(self) -> Level:
        """Return what the guest behind the agent bears out."""
        commands = self.domain.agent.commands
        if fake.FREEZE in commands:
            return Level.FILESYSTEM
        ran = [arguments[0] for arguments in self.guardian.arguments]
        return (Level.WRITE_THROUGH if {'start', 'release'} <= {*ran}
                else Level.CRASH)

    @QUICK
    @hypothesis.given(strategies.sampled_from(['guest-info', fake.EXEC]),
                      ANSWER)
    def test_whatever_is_answered_on_the_way(self, name: str,
                                             text: str) -> None:
        proof = self.answered(name, text)
        self.assertLessEqual(proof.level, self.true_level())

    @QUICK
    @hypothesis.given(
        strategies.sampled_from([fake.FSINFO, fake.FREEZE, fake.THAW,
                                 fake.FREEZE_STATUS]), ANSWER)
    def test_whatever_is_answered_about_a_freeze(self, name: str,
                                                 text: str) -> None:
        proof = self.answered(name, text, 'freeze')
        self.assertGreaterEqual(proof.level, Level.CRASH)
        if name == fake.FREEZE:
            self.assertLessEqual(proof.level, Level.WRITE_THROUGH)

    @QUICK
    @hypothesis.given(REPORT)
    def test_whatever_is_reported(self, text: str) -> None:
        encoded = base64.b64encode(
            text.encode('utf-8', 'surrogatepass')).decode()
        proof = self.answered(fake.STATUS, json.dumps({'return': {
            'exited': True, 'exitcode': 0, 'out-data': encoded}}), 'freeze')
        try:
            guardian.parse(text)
        except exceptions.GuardianError:
            self.assertIs(Level.CRASH, proof.level)
        for sent in self.guardian.arguments:
            self.assertNotIn('pwned', ' '.join(sent))

    @QUICK
    @hypothesis.given(strategies.text())
    def test_whatever_error_the_agent_has(self, text: str) -> None:
        def refuse(**_: Any) -> None:
            raise fake.Refused(text + '\n\x1b[2J' + 9999 * text)
        self.domain.agent = fake.GuestAgent()
        self.domain.agent.answers['guest-info'] = refuse
        self.assertIs(Level.CRASH, self.closed().level)
        self.assertNotIn('\x1b', self.log.output)

    def test_another_instance_does_not_wait(self) -> None:
        asked: list[int] = []
        over: list[int] = []

        def answer() -> None:
            # No lock: it runs beyond the reach of green threads.
            asked.append(1)
            while not over:
                time.sleep(0.01)
        self.domain.agent.answers['guest-info'] = answer
        hostile = threading.Thread(target=self.window().open)
        hostile.start()
        self.addCleanup(hostile.join)
        self.addCleanup(over.append, 1)
        while not asked:
            time.sleep(0.01)
        self.domain = self.libvirt.add(base.HOST, libvirt.Domain(
            base.VOLUME, base.PROJECT))
        self.assertIs(Level.WRITE_THROUGH, self.closed().level)
        self.assertTrue(hostile.is_alive())
