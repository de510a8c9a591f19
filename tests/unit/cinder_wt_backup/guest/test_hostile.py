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

import json
import threading
import time
from typing import Any

import hypothesis
from hypothesis import strategies

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.claims import metadata
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian import report as reports
from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import libvirt

Level = claims.Level
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
TEXT = strategies.text(strategies.characters(), max_size=20)
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

# Reports: fields that are well-formed, one that perhaps is not, any text.
DEVICE = strategies.sampled_from(['254:16', '254:17', '0:52'])
KIND = strategies.sampled_from(['ext4', 'xfs', 'vfat', 'f2fs', 'iso9660'])
POINT = strategies.sampled_from(
    ['', '/mnt', '/a b', '/; touch /run/pwned', '/\n/etc', '/\ud800\0',
     '/-o bind', '/' + 4096 * 'x'])
TEXTS = strategies.lists(TEXT, max_size=2)
REMARKS = strategies.lists(strategies.sampled_from(protocol.Remark),
                           max_size=2)
MOUNTS = strategies.lists(strategies.tuples(DEVICE, KIND, POINT).map(list),
                          max_size=2)
BOOLEANS = strategies.booleans()
STARTED = {
    'device': DEVICE, 'type': KIND, 'point': POINT, 'own': BOOLEANS,
    'state': strategies.sampled_from(protocol.State),
    'depth': strategies.integers(0, 3), 'barrier': BOOLEANS,
    'flush': strategies.sampled_from(['none', 'done']),
    'pulse': strategies.sampled_from(protocol.Pulse), 'changed': TEXTS,
    'errors': strategies.dictionaries(
        strategies.sampled_from(['engage', 'flush', 'prepare']),
        strategies.sampled_from(['EIO', 'EBUSY', 'ENOSYS', 'hidden']))}
ENDED = {
    'device': DEVICE, 'type': KIND, 'point': POINT, 'own': BOOLEANS,
    'was': strategies.sampled_from(protocol.State), 'changed': TEXTS,
    'undo': strategies.sampled_from(protocol.Undo), 'thawed': BOOLEANS}
START = {
    'kernel': strategies.sampled_from(['6.1.0', '5.14.0', '', 'x' * 1024]),
    'dirty_kb': strategies.integers(0, 1 << 40), 'armed': BOOLEANS,
    'remarks': REMARKS, 'mounts': MOUNTS, 'reason': TEXT,
    'filesystems': strategies.lists(strategies.fixed_dictionaries(STARTED),
                                    max_size=2)}
END = {
    'released': BOOLEANS, 'remarks': REMARKS, 'mounts': MOUNTS,
    'reason': TEXT, 'filesystems': strategies.lists(
        strategies.fixed_dictionaries(ENDED), max_size=2)}


def nearly(fields: dict[str, Any]) -> Any:
    """Return a strategy of objects with such fields, and one as hostile."""
    return strategies.tuples(
        strategies.fixed_dictionaries(fields),
        strategies.sampled_from([*fields, 'more']), VALUE).map(
            lambda made: {**made[0], made[1]: made[2]})


def partly(fields: dict[str, Any], inner: dict[str, Any]) -> Any:
    """Return a strategy of reports, well-formed and nearly."""
    return (strategies.fixed_dictionaries(fields) | nearly(fields)
            | strategies.fixed_dictionaries({
                **fields, 'filesystems': strategies.lists(
                    nearly(inner), min_size=1, max_size=2)}))


STARTS, ENDS = partly(START, STARTED), partly(END, ENDED)


def mostly(usual: Any, *others: Any) -> Any:
    """Return a strategy of what is mostly as it is in a guest without ill."""
    return strategies.sampled_from([usual] * 3 * len(others) + [*others])


# File systems that a guardian may find, most of them as they should be.
FILESYSTEM = strategies.builds(
    fake.FileSystem, device=DEVICE,
    type=strategies.sampled_from(['ext4', 'xfs', 'vfat', 'f2fs']),
    point=strategies.sampled_from(['/mnt', '/srv']),
    state=mostly('flagged', 'sync', 'ro', 'rw', 'hidden', 'unknown'),
    own=mostly(True, False), barrier=mostly(True, False),
    flush=mostly(None, 'none'), pulse=mostly(None, 'busy', 'late'),
    was=mostly(None, *protocol.State),
    undo=mostly(None, *protocol.Undo), thawed=mostly(False, True))
REMARK = mostly([], *([remark] for remark in protocol.Remark))
UNTOLD = strategies.text() | UNUSUAL | VALUE.map(json.dumps)


def whole(fields: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Return a report with these fields."""
    return {'version': 1, 'status': 0, 'token': base.TOKEN, **values,
            **fields}


def borne_out(start: reports.Start, end: reports.End) -> Level:
    """Return what two reports bear out at the most, without a freeze."""
    remarks = start.remarks | end.remarks
    if remarks & {'unflushed', 'journal'} or any(
            not fs.flushed for fs in start.filesystems
            if fs.state not in ('ro', 'gone', 'hidden')):
        return Level.CRASH
    if remarks & {'container', 'unseen', 'cache', 'raw', 'kernel'}:
        return Level.FLUSHED
    if not start.filesystems == start.mounts == end.mounts == ():
        return (Level.WRITE_THROUGH if are_synchronous(start, end)
                else Level.FLUSHED)
    return Level.FLUSHED if remarks & {'held', 'swap'} else Level.FILESYSTEM


def are_synchronous(start: reports.Start, end: reports.End) -> bool:
    """Whether all was synchronous from the start to the end, by these."""
    kept = ('flagged', 'sync', 'ro')
    return ({fs.number for fs in start.filesystems}
            == {fs.number for fs in end.mounts}
            and all(fs.barrier and fs.state in kept
                    and (start.drains or fs.drained or fs.state != 'flagged')
                    for fs in start.filesystems)
            and all(fs.was in kept for fs in end.filesystems))


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
        for call in (self.hostile.permitted_commands, self.hostile.mounts,
                     self.hostile.is_frozen, self.hostile.thaw,
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

    def well_formed(self, mounts: Any) -> None:
        self.assertLessEqual(len(mounts), protocol.MAX_FILESYSTEMS)
        for fs in mounts:
            self.assertRegex(fs.mountpoint, '^(/|$)')
            self.assertLessEqual(len(fs.mountpoint), 4097)
            self.assertTrue((fs.kind + fs.number).isascii())
            self.assertTrue((fs.kind + fs.number).isprintable())

    @QUICK
    @hypothesis.given(STARTS)
    def test_a_start_is_well_formed_or_refused(self, fields: Any) -> None:
        try:
            report = reports.started(whole(fields, disk='vdb', ms={}))
        except exceptions.GuardianError:
            return
        self.well_formed(report.filesystems)
        self.well_formed(report.mounts)
        self.assertLessEqual(report.remarks, set(protocol.Remark))
        self.assertGreaterEqual(report.dirty_kb, 0)
        for fs in report.filesystems:
            self.assertIn(fs.state, protocol.State)
            self.assertTrue(''.join(fs.errors.values()).isascii())

    @QUICK
    @hypothesis.given(ENDS)
    def test_an_end_is_well_formed_or_refused(self, fields: Any) -> None:
        try:
            report = reports.ended(whole(fields))
        except exceptions.GuardianError:
            return
        self.assertTrue(fields['released'])
        self.well_formed(report.filesystems)
        self.well_formed(report.mounts)
        for fs in report.filesystems:
            self.assertIn(fs.was, protocol.State)
            self.assertIn(fs.undo, protocol.Undo)

    @QUICK
    @hypothesis.given(strategies.fixed_dictionaries(START),
                      strategies.fixed_dictionaries(END))
    def test_what_is_well_formed_is_read(self, start: Any, end: Any) -> None:
        reports.started(whole(start, disk='vdb', ms={}))
        reports.ended(whole({**end, 'released': True}))

    @QUICK
    @hypothesis.given(UNTOLD)
    def test_any_text_is_an_object_or_refused(self, text: str) -> None:
        try:
            self.assertEqual(1, reports.read(text)['version'])
        except exceptions.GuardianError:
            pass


class WindowTest(base.WindowTestCase):
    """Of a whole window: never an error, never more than is true."""

    def closed(self, barrier: str = 'none', **values: Any
               ) -> claims.Claim:
        """Return what a window comes to, and see how it is put on record."""
        proof = self.proof(barrier=barrier, **{
            'agent_timeout': 1, 'drain_timeout': 1, 'lock_timeout': 1,
            **values})
        self.assertNotIn('unexpected error', proof.reason)
        for key, value in metadata.of_claim(proof).items():
            self.assertTrue(key.startswith('wt:'))
            self.assertTrue(value.isascii() and value.isprintable(), value)
            self.assertLessEqual(len(value), metadata.WIDTH)
        return proof

    def answered(self, name: str, text: Any, barrier: str = 'none',
                 ) -> claims.Claim:
        """Return what it comes to if one command is answered so."""
        self.domain.agent = fake.GuestAgent()
        self.domain.agent.answers[name] = lambda **_: fake.Raw(text)
        return self.closed(barrier)

    def true_level(self) -> Level:
        """Return what the guest behind the agent bears out."""
        commands = self.domain.agent.commands
        if fake.FREEZE in commands:
            return Level.FILESYSTEM
        return (Level.WRITE_THROUGH
                if {'start', 'release'} <= {*self.guardian.commands}
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

    @hypothesis.settings(QUICK, max_examples=200)
    @hypothesis.given(
        strategies.lists(FILESYSTEM, max_size=2, unique_by=lambda fs:
                         fs.device),
        REMARK, REMARK, mostly('6.1.0', '5.14.0'),
        mostly(None, [], [['254:16', 'ext4', '/mnt']]))
    def test_whatever_a_guardian_may_find(
            self, filesystems: Any, remarks: Any, end_remarks: Any,
            kernel: str, mounts: Any) -> None:
        self.domain.agent = fake.GuestAgent()
        told: dict[str, str] = {}

        def heard(command: str) -> Any:
            return lambda text: told.setdefault(command, text)
        guest = self.guardian
        guest.filesystems, guest.kernel = filesystems, kernel
        guest.remarks, guest.end_remarks = remarks, end_remarks
        guest.mounts_at_end = mounts
        guest.outputs.update(start=heard('start'), release=heard('release'))
        proof = self.closed(methods=['write_through'], agent_timeout=30)
        # Exactly: neither is it claimed too little.
        self.assertIs(borne_out(
            reports.started(reports.read(told['start'])),
            reports.ended(reports.read(told['release']))), proof.level, proof)

    def reported(self, start: Any, end: Any, barrier: str,
                 **values: Any) -> claims.Claim:
        """Return what it comes to if the guardian reports these fields."""
        self.domain.agent = fake.GuestAgent()
        self.guardian.instead.update(start=start, release=end)
        proof = self.closed(barrier, **values)
        for _command, request in self.guardian.arguments:
            self.assertNotIn('pwned', json.dumps(request))
        return proof

    @QUICK
    @hypothesis.given(STARTS, ENDS)
    def test_whatever_is_reported(self, start: Any, end: Any) -> None:
        proof = self.reported(start, end, 'none', methods=['write_through'])
        try:
            read = (reports.started(whole(start, disk='vdb', ms={})),
                    reports.ended(whole(end)))
        except exceptions.GuardianError:
            self.assertIs(Level.CRASH, proof.level)
        else:
            self.assertLessEqual(proof.level, borne_out(*read), proof)

    @QUICK
    @hypothesis.given(STARTS, ENDS)
    def test_whatever_is_reported_of_a_freeze(self, start: Any, end: Any
                                              ) -> None:
        proof = self.reported(start, end, 'freeze')
        self.assertEqual([], self.domain.agent.frozen)
        if fake.FREEZE not in self.domain.agent.commands and (
                start.get('filesystems')):
            self.assertLessEqual(proof.level, Level.WRITE_THROUGH)

    @QUICK
    @hypothesis.given(strategies.sampled_from(['start', 'release']), UNTOLD)
    def test_whatever_is_printed(self, command: str, text: str) -> None:
        self.domain.agent = fake.GuestAgent()
        self.guardian.outputs[command] = lambda _text: text.encode(
            'utf-8', 'replace').decode()
        self.assertIs(Level.CRASH, self.closed().level)

    @QUICK
    @hypothesis.given(strategies.integers(1, 255), UNTOLD)
    def test_whatever_it_ends_with(self, status: int, text: str) -> None:
        self.domain.agent = fake.GuestAgent()
        self.guardian.exits['start'] = [status]
        self.guardian.outputs['start'] = lambda _text: text.encode(
            'utf-8', 'replace').decode()
        proof = self.closed(methods=['write_through'], agent_timeout=30)
        self.assertIs(Level.FLUSHED if status == 10 else Level.CRASH,
                      proof.level)

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
