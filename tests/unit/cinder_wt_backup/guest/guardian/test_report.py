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


import copy
import json
import os
from types import SimpleNamespace
from typing import Any

import ddt

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import look
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import supervisor
from cinder_wt_backup.guest.guardian.inside import window
from cinder_wt_backup.guest.guardian import report as reports
from tests.unit import base
from tests.unit.fixtures import agent as fake

# As the program prints them.
START: dict[str, Any] = {
    'version': 1, 'status': 0, 'token': 'feedbeef', 'reason': '',
    'kernel': '5.14.0-503.el9.x86_64', 'disk': 'vdb', 'ms': {'look': 4},
    'dirty_kb': 1024, 'armed': True, 'remarks': ['late', 'spans'],
    'mounts': [['254:17', 'ext4', '/mnt'], ['254:18', 'f2fs', '/a b\n']],
    'filesystems': [
        {'device': '254:17', 'type': 'ext4', 'state': 'flagged',
         'point': '/mnt', 'own': True, 'depth': 0, 'barrier': True,
         'flush': 'done', 'pulse': 'done', 'changed': [], 'errors': {}},
        {'device': '254:18', 'type': 'f2fs', 'state': 'rw',
         'point': '/a b\n', 'own': False, 'depth': 1, 'barrier': False,
         'flush': 'none', 'pulse': 'none', 'changed': ['-a', '+b=1'],
         'errors': {'engage': 'EBUSY', 'flush': 'EIO'}}]}
END: dict[str, Any] = {
    'version': 1, 'status': 8, 'token': 'feedbeef', 'reason': '',
    'released': True, 'remarks': ['unseen'],
    'mounts': [['254:17', 'ext4', '/mnt']],
    'filesystems': [
        {'device': '254:17', 'type': 'ext4', 'was': 'flagged', 'own': True,
         'point': '/mnt', 'changed': ['-inode32'], 'undo': 'undone',
         'thawed': False},
        {'device': '254:18', 'type': 'xfs', 'was': 'gone', 'own': False,
         'point': '', 'changed': [], 'undo': 'frozen', 'thawed': True}]}
HOSTILE = (None, True, -1, 1.5, 1 << 70, '', 'no', '\n', '../..', 'x' * 5000,
           '\ud800', [], ['no'], [None], [[]], {}, {'no': 'no'}, {'a': {}})
# What of that they may be, all the same.
TEXTS = ('', 'no', '\n', '../..', '\ud800')
HARMLESS: dict[str, tuple[Any, ...]] = {
    'kernel': TEXTS, 'armed': (True,), 'released': (True,), 'remarks': ([],),
    'mounts': ([],), 'filesystems': ([],), 'type': ('no',), 'own': (True,),
    'point': ('',), 'barrier': (True,), 'thawed': (True,),
    'changed': ([], ['no']), 'errors': ({}, {'no': 'no'})}
# Nothing looks at these, or somebody else does.
IGNORED = ('version', 'status', 'token', 'reason', 'disk', 'ms')


def fields_of(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return where each field is, those of the last file system too."""
    return [(name,) for name in report] + [
        ('filesystems', name) for name in report['filesystems'][-1]]


def changed(report: dict[str, Any], where: tuple[str, ...]
            ) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a copy, and of it the object that has that field."""
    made = copy.deepcopy(report)
    return made, made if len(where) == 1 else made['filesystems'][-1]


def is_one_of(value: Any, values: Any) -> bool:
    # To Python, True is 1.
    return any(type(value) is type(each) and value == each for each in values)


@ddt.ddt
class ReadTest(base.TestCase):

    def test_a_report_is_an_object(self) -> None:
        self.assertEqual(START, reports.read(json.dumps(START) + '\n'))

    @ddt.data('', 'null', '[]', '1', '"a"', '{', '{}', '{"version": "1"}',
              '{"version": true}', '{"version": 1.0}', '{"version": null}',
              '{"version": 1} {"version": 1}', '[' * 100000,
              '{"version": ' + '9' * 5000 + '}')
    def test_what_is_none(self, text: str) -> None:
        self.assertRaises(exceptions.GuardianError, reports.read, text)

    @ddt.data(0, 2, -1)
    def test_another_version_is_told_as_such(self, version: int) -> None:
        error = self.assertRaises(
            exceptions.GuardianError, reports.read,
            json.dumps({**START, 'version': version}))
        self.assertIn('another version', str(error))

    def test_an_endless_one_is_refused_before_it_is_read(self) -> None:
        text = json.dumps(START)
        reports.read(text + (reports.MAX_TEXT - len(text)) * ' ')
        self.assertRaises(
            exceptions.GuardianError, reports.read,
            text + (reports.MAX_TEXT - len(text) + 1) * ' ')

    def test_it_may_have_a_reason(self) -> None:
        self.assertEqual('', reports.reason({}))
        self.assertEqual('no room', reports.reason({'reason': 'no room'}))
        for value in (None, 1, [], 'x' * 1025):
            self.assertRaises(exceptions.GuardianError, reports.reason,
                              {'reason': value})


@ddt.ddt
class StartTest(base.TestCase):

    def test_a_whole_one(self) -> None:
        self.assertEqual(reports.Start(
            filesystems=(
                reports.Started(
                    '254:17', 'ext4', '/mnt', state='flagged', own=True,
                    barrier=True, flushed=True, pulse='done', errors={},
                    changed=()),
                reports.Started(
                    '254:18', 'f2fs', '/a b\n', state='rw', own=False,
                    barrier=False, flushed=False, pulse='none',
                    errors={'engage': 'EBUSY', 'flush': 'EIO'},
                    changed=('-a', '+b=1'))),
            mounts=(reports.Mount('254:17', 'ext4', '/mnt'),
                    reports.Mount('254:18', 'f2fs', '/a b\n')),
            remarks=frozenset({'late', 'spans'}), armed=True, drains=False,
            dirty_kb=1024), reports.started(START))

    @ddt.data(*(where for where in fields_of(START)
                if where[0] not in IGNORED))
    def test_every_field_hostile_once(self, where: tuple[str, ...]) -> None:
        for value in HOSTILE:
            report, inner = changed(START, where)
            inner[where[-1]] = value
            if is_one_of(value, HARMLESS.get(where[-1], ())):
                reports.started(report)
            else:
                self.assertRaises(exceptions.GuardianError, reports.started,
                                  report)

    @ddt.data(*fields_of(START))
    def test_every_field_missing_once(self, where: tuple[str, ...]) -> None:
        report, inner = changed(START, where)
        del inner[where[-1]]
        self.assertRaises(exceptions.GuardianError, reports.started, report)

    def test_a_field_too_many(self) -> None:
        for where in (('more',), ('filesystems', 'more')):
            report, inner = changed(START, where)
            inner['more'] = 1
            self.assertRaises(exceptions.GuardianError, reports.started,
                              report)

    @ddt.data(['254:17', 'ext4'], ['254:17', 'ext4', '/', '/'],
              ['254:17', 'ext4', 'mnt'], ['254', 'ext4', '/'],
              ['254:17\n', 'ext4', '/'], ['\u0663:1', 'ext4', '/'],
              ['254:17', 'a=1,', '/'], ['254:17', '', '/'],
              ['254:17', 'ext4', '/' + 'x' * 4097], [1, 2, 3], '254',
              {'254:17': 'ext4', 'a': 1, 'b': 2}, None)
    def test_what_is_no_mount(self, mount: Any) -> None:
        self.assertRaises(exceptions.GuardianError, reports.started,
                          {**START, 'mounts': [mount]})

    @ddt.data('mounts', 'filesystems')
    def test_no_guardian_sees_that_many(self, name: str) -> None:
        many = [START[name][0]] * protocol.MAX_FILESYSTEMS
        reports.started({**START, name: many})
        self.assertRaises(exceptions.GuardianError, reports.started,
                          {**START, name: many + many[:1]})

    @ddt.data(('6.0.0', True), ('6.1', True), ('10.0-rc1', True),
              ('5.19.17', False), ('5.99', False), ('4.18.0-553', False),
              ('6', False), ('', False), ('Linux 6.1', False),
              ('\u0666.1', False), ('99999.1', False))
    @ddt.unpack
    def test_since_linux_6_writers_are_drained(self, kernel: str,
                                               drains: bool) -> None:
        self.assertIs(drains, reports.started(
            {**START, 'kernel': kernel}).drains)

    def start(self, *changes: dict[str, Any]) -> reports.Start:
        return reports.started({**START, 'filesystems': [
            {**START['filesystems'][0], **change} for change in changes]})

    @ddt.data(('flagged', {}, False, False), ('sync', {}, False, False),
              ('ro', {}, False, False), ('hidden', {}, False, False),
              ('unknown', {}, False, False), ('rw', {}, True, False),
              ('rw', {'engage': 'ENOSYS'}, True, False),
              ('rw', {'engage': 'EBUSY'}, False, True),
              ('rw', {'flush': 'EBUSY'}, True, False))
    @ddt.unpack
    def test_what_lacks_the_flag(self, state: str, errors: dict[str, str],
                                 unflagged: bool, frozen: bool) -> None:
        found = self.start({}, {'device': '254:18', 'state': state,
                                'errors': errors})
        self.assertEqual((unflagged, frozen),
                         (found.unflagged, found.frozen))

    def test_beside_a_frozen_one_nothing_counts_as_unflagged(self) -> None:
        found = self.start({'state': 'rw'}, {
            'state': 'rw', 'errors': {'engage': 'EBUSY'}})
        self.assertFalse(found.unflagged)

    def test_an_efi_system_partition_alone_does_not(self) -> None:
        efi = {'device': '254:18', 'type': 'vfat', 'point': '/boot/efi',
               'state': 'rw'}
        self.assertFalse(self.start({}, efi).unflagged)
        self.assertTrue(self.start(efi).unflagged)


@ddt.ddt
class EndTest(base.TestCase):

    def test_a_whole_one(self) -> None:
        stuck = reports.Ended('254:18', 'xfs', '', was='gone', own=False,
                              changed=(), undo='frozen', thawed=True)
        found = reports.ended(END)
        self.assertEqual(reports.End(
            filesystems=(reports.Ended(
                '254:17', 'ext4', '/mnt', was='flagged', own=True,
                changed=('-inode32',), undo='undone', thawed=False), stuck),
            mounts=(reports.Mount('254:17', 'ext4', '/mnt'),),
            remarks=frozenset({'unseen'})), found)
        self.assertEqual([stuck], found.stuck)

    @ddt.data(('undone', False), ('absent', False), ('other', False),
              ('frozen', True), ('stuck', True), ('unknown', True))
    @ddt.unpack
    def test_what_is_stuck(self, undo: str, stuck: bool) -> None:
        report, inner = changed(END, ('filesystems', 'undo'))
        inner['undo'] = undo
        self.assertEqual(stuck, bool(reports.ended(report).stuck))

    @ddt.data(*(where for where in fields_of(END) if where[0] not in IGNORED))
    def test_every_field_hostile_once(self, where: tuple[str, ...]) -> None:
        for value in HOSTILE:
            report, inner = changed(END, where)
            inner[where[-1]] = value
            if is_one_of(value, HARMLESS.get(where[-1], ())):
                reports.ended(report)
            else:
                self.assertRaises(exceptions.GuardianError, reports.ended,
                                  report)

    @ddt.data(*fields_of(END))
    def test_every_field_missing_once(self, where: tuple[str, ...]) -> None:
        report, inner = changed(END, where)
        del inner[where[-1]]
        self.assertRaises(exceptions.GuardianError, reports.ended, report)

    def test_one_that_had_ended_before_proves_nothing(self) -> None:
        error = self.assertRaises(exceptions.GuardianError, reports.ended,
                                  {**END, 'released': False})
        self.assertIn('ended before its release', str(error))


FLAGGED: dict[str, Any] = {
    'state': 'flagged', 'own': True, 'point': '/mnt', 'flush': 'done',
    'was': 'flagged', 'undo': 'undone', 'changed': []}


@ddt.ddt
class ContractTest(base.TestCase):
    """What the program makes of what it knows, the host reads."""

    def member(self, facts: dict[str, Any], **values: Any) -> Any:
        """Return what a supervisor knows of one file system."""
        return SimpleNamespace(**{
            'record': journal.Record(
                '254:16', 'ext4', 'x#1', 'self', ['rw'], [], True, False),
            'seen': look.FileSystem('254:16', 'ext4', 'self', '/mnt', 0,
                                    'rw'),
            'facts': facts, 'errors': {}, 'busy': '', 'thawed': False,
            'verdict': lambda: facts.get('undo', 'stuck'), **values})

    def start(self, *members: Any) -> dict[str, Any]:
        mounts = [['254:16', 'ext4', '/mnt']]
        return json.loads(json.dumps(window.Window._report(SimpleNamespace(
            _held=SimpleNamespace(members=members),
            _request={'token': base.TOKEN}, _disk='vdb', _times={'look': 1},
            _dirty=1024, _freeze_is_expected=lambda: False,
            _remarks=set(protocol.Remark), _mounts=mounts))))

    def end(self, *members: Any) -> dict[str, Any]:
        told: list[dict[str, Any]] = []
        supervisor.Supervisor.answer(SimpleNamespace(
            members=members, request={'token': base.TOKEN}, released=True,
            _calls=SimpleNamespace(answer=told.append)),
            protocol.Status.DONE, [['254:16', 'ext4', '/mnt']],
            list(protocol.Remark))
        return json.loads(json.dumps(told[0]))

    def test_one_with_the_flag(self) -> None:
        member = self.member(FLAGGED)
        found, = reports.started(self.start(member)).filesystems
        self.assertEqual(('flagged', '/mnt', True, True, True), (
            found.state, found.mountpoint, found.own, found.barrier,
            found.flushed))
        gone, = reports.ended(self.end(member)).filesystems
        self.assertEqual(('flagged', '/mnt', False),
                         (gone.was, gone.mountpoint, gone.stuck))

    def test_one_of_which_nothing_is_known(self) -> None:
        member = self.member({}, busy='prepare', errors={'ready': 'OSError'})
        found, = reports.started(self.start(member)).filesystems
        self.assertEqual(('unknown', False, False),
                         (found.state, found.own, found.flushed))
        gone, = reports.ended(self.end(member)).filesystems
        self.assertEqual(('unknown', True), (gone.was, gone.stuck))

    def test_a_report_of_the_kernel_that_runs_here(self) -> None:
        major = int(os.uname().release.split('.')[0])
        self.assertEqual(major >= 6, reports.started(self.start()).drains)

    def test_the_fake_reports_in_the_same_form(self) -> None:
        guardian = fake.Guardian()
        same = guardian.mount('254:16', 'ext4', '/mnt')
        member = self.member(FLAGGED)
        self.assertEqual(self.start(member)['filesystems'],
                         [same.started(pulse=False)])
        self.assertEqual(self.end(member)['filesystems'], [same.ended()])

    def test_also_of_what_is_hidden(self) -> None:
        guardian = fake.Guardian()
        same = guardian.mount('254:16', 'ext4', '/mnt', 'hidden')
        member = self.member(
            {'state': 'hidden', 'own': False, 'point': '', 'was': 'hidden',
             'undo': 'absent'}, errors={'prepare': 'hidden'})
        self.assertEqual(self.start(member)['filesystems'],
                         [same.started(pulse=False)])
        self.assertEqual(self.end(member)['filesystems'], [same.ended()])
