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

from __future__ import annotations

import inspect
from typing import Any

from cinder.backup import driver as cinder_driver
from cinder import exception
from cinder.interface import backup_driver
from cinder import objects
from cinder.tests.unit.backup import fake_service
import ddt
import fixtures
import libvirt

from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import disks
from tests.unit.fixtures import libvirt as hosts

LEVEL, REASON = 'wt:level', 'wt:reason'
INTERFACE = sorted({
    name for interface in (backup_driver.BackupDriver,
                           cinder_driver.BackupDriver)
    for name, _method in inspect.getmembers(interface, inspect.isfunction)
    if not name.startswith('_')})


class Recorder(fake_service.FakeBackupService):
    """A wrapped driver that notes what reaches it."""

    calls: list[tuple[Any, ...]] = []
    updates: dict[str, Any] = {}
    error: Exception | None = None

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.support_force_delete = 'perhaps'

    def __getattribute__(self, name: str) -> Any:
        if name in INTERFACE and name not in ('backup',
                                              'check_for_setup_error'):
            return lambda *args, **kwargs: (name, args, kwargs)
        return super().__getattribute__(name)

    def backup(self, backup: Any, volume_file: Any,
               backup_metadata: bool = False) -> dict[str, Any]:
        self.calls.append((backup.id, volume_file.read(4), backup_metadata))
        # As chunked drivers do, with a Backup that came by a message.
        backup.object_count = 3
        self.meanwhile(backup)
        backup.save()
        if self.error:
            raise self.error
        return self.updates


class DriverTestCase(base.BackupTestCase):

    options = {'wrapped_driver': f'{__name__}.Recorder'}

    def setUp(self) -> None:
        super().setUp()
        Recorder.calls, Recorder.updates, Recorder.error = [], {}, None
        Recorder.meanwhile = staticmethod(lambda backup: None)


@ddt.ddt
class DelegationTest(DriverTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.driver = self.manager.service(self.context)

    def test_it_is_a_backup_driver(self) -> None:
        self.assertIsInstance(self.driver, cinder_driver.BackupDriver)

    @ddt.data(*(name for name in INTERFACE
                if name not in ('backup', 'check_for_setup_error')))
    def test_a_method_reaches_the_wrapped_driver(self, name: str) -> None:
        self.assertEqual((name, (1, 2), {'three': 3}),
                         getattr(self.driver, name)(1, 2, three=3))

    def test_the_interface_is_the_one_that_is_known(self) -> None:
        self.assertLessEqual(
            {'backup', 'restore', 'delete_backup', 'export_record',
             'import_record', 'check_for_setup_error', 'get_metadata',
             'put_metadata'}, set(INTERFACE))

    def test_set_up_is_checked(self) -> None:
        self.assertIsNone(self.driver.check_for_setup_error())

    def test_an_attribute_is_the_wrapped_drivers(self) -> None:
        self.assertEqual('perhaps', self.driver.support_force_delete)
        self.assertIs(self.context, self.driver.context)

    def test_what_the_wrapped_driver_lacks_is_missing(self) -> None:
        self.assertFalse(hasattr(self.driver, 'is_something_else'))

    def test_the_context_may_be_named(self) -> None:
        self.assertIs(self.context,
                      self.manager.service(context=self.context).context)


def all_is_well(domain: hosts.Domain) -> None:
    pass


def no_agent(domain: hosts.Domain) -> None:
    domain.channel = ''


def exec_blocked(domain: hosts.Domain) -> None:
    domain.agent.blocked = {fake.EXEC, fake.STATUS}


def mounts_changed(domain: hosts.Domain) -> None:
    domain.agent.guardian.mounts_at_end = []


def shut_off(domain: hosts.Domain) -> None:
    domain.state_now = libvirt.VIR_DOMAIN_SHUTOFF


def suspended(domain: hosts.Domain) -> None:
    domain.suspend_to_disk()


CASES = ((all_is_well, 'write-through'), (no_agent, 'crash'),
         (exec_blocked, 'filesystem'), (mounts_changed, 'flushed'),
         (shut_off, None), (suspended, 'crash'))


# A line of its own for a log, red, and what follows from right to left.
FORGED = 'no luck\n2026-11-26 12:00:00 ERROR forged\x1b[31m\u202e\u200b'


def lookup_fails(domain: hosts.Domain) -> None:
    def state() -> None:
        raise hosts.error(libvirt.VIR_ERR_INTERNAL_ERROR, FORGED)
    domain.state = state


def host_fails(domain: hosts.Domain) -> None:
    def state() -> None:
        raise hosts.error(libvirt.VIR_ERR_RPC, FORGED)
    domain.state = state


def agent_fails(domain: hosts.Domain) -> None:
    def answer() -> None:
        raise hosts.error(libvirt.VIR_ERR_INTERNAL_ERROR, FORGED)
    domain.agent.answers['guest-info'] = answer


def library_fails(domain: hosts.Domain) -> None:
    def answer() -> None:
        raise RuntimeError(FORGED)
    domain.agent.answers['guest-info'] = answer


def release_fails(domain: hosts.Domain) -> None:
    run = domain.agent.guest_exec

    def answer(**arguments: Any) -> Any:
        if 'release' in arguments['arg']:
            raise RuntimeError(FORGED)
        return run(**arguments)
    domain.agent.answers[fake.EXEC] = answer


FAILURES = (lookup_fails, host_fails, agent_fails, library_fails,
            release_fails)


@ddt.ddt
class ClaimTest(DriverTestCase):

    def made(self, spoil: Any, **values: Any) -> objects.Backup:
        volume = self.attached()
        spoil(self.domain)
        backup = self.create(self.backup(volume, **values))
        self.assertEqual([], self.cinder_volume.errors)
        self.assertEqual('available', backup.status)
        return backup

    @ddt.data(*CASES)
    @ddt.unpack
    def test_it_is_in_the_backups_metadata(self, spoil: Any,
                                           level: str | None) -> None:
        self.assertEqual(level, self.made(spoil).metadata.get(LEVEL))

    @ddt.data(*FAILURES)
    def test_what_others_say_is_plain_text_in_it(self, spoil: Any) -> None:
        reason = self.made(spoil).metadata[REASON]
        self.assertIn('no luck 2026-11-26 12:00:00 ERROR forged?[31m??',
                      reason)
        self.assertTrue(reason.isprintable())

    @ddt.data(*CASES)
    @ddt.unpack
    def test_it_is_there_beside_the_users_properties(
            self, spoil: Any, level: str | None) -> None:
        found = self.made(spoil, metadata={'job': '7', 'x': 'y'}).metadata
        self.assertEqual(level, found.pop(LEVEL, None))
        self.assertEqual({'job': '7', 'x': 'y'}, {
            key: value for key, value in found.items()
            if not key.startswith('wt:')})

    @ddt.data(*CASES)
    @ddt.unpack
    def test_what_the_request_claimed_is_dropped(self, spoil: Any,
                                                 level: str | None) -> None:
        found = self.made(spoil, metadata={
            LEVEL: 'filesystem', 'wt:verified': 'clean',
            'job': '7'}).metadata
        self.assertEqual(level, found.get(LEVEL))
        self.assertNotEqual('clean', found.get('wt:verified'))
        self.assertEqual('7', found['job'])

    def test_what_the_request_claimed_of_a_detached_volume_too(self) -> None:
        backup = self.create(self.backup(
            self.volume(), metadata={LEVEL: 'filesystem'}))
        self.assertEqual({}, backup.metadata)

    def test_what_users_change_while_it_is_stored_stays(self) -> None:
        def change(backup: objects.Backup) -> None:
            same = objects.Backup.get_by_id(self.context, backup.id)
            same.metadata = {'job': '8', 'new': 'x', 'wt:level': 'mine'}
            same.save()
        Recorder.meanwhile = staticmethod(change)
        found = self.made(all_is_well, metadata={'job': '7', 'x': 'y'})
        self.assertEqual(('8', 'x', 'write-through'), (
            found.metadata['job'], found.metadata['new'],
            found.metadata[LEVEL]))
        self.assertNotIn('x', found.metadata)

    def test_one_that_was_deleted_while_it_was_stored_fails_nothing(
            self) -> None:
        Recorder.meanwhile = staticmethod(
            lambda backup: objects.Backup.get_by_id(
                self.context, backup.id).destroy())
        volume = self.attached()
        backup = self.backup(volume, service='it', temp_volume_id=volume.id)
        with open(self.cinder_volume.device, 'rb') as device:
            updates = self.manager.service(self.context).backup(backup, device)
        self.assertIn(LEVEL, updates['metadata'])

    def test_what_the_wrapped_driver_returns_is_kept(self) -> None:
        Recorder.updates = {'service_metadata': 'base',
                            'metadata': {'theirs': '1', LEVEL: 'crash',
                                         'wt:verified': 'clean'}}
        backup = self.made(all_is_well, metadata={'job': '7'})
        self.assertEqual('base', backup.service_metadata)
        self.assertEqual(3, backup.object_count)
        self.assertEqual('1', backup.metadata['theirs'])
        self.assertEqual('unknown', backup.metadata['wt:verified'])
        self.assertEqual('7', backup.metadata['job'])
        self.assertEqual('write-through', backup.metadata[LEVEL])

    def test_the_data_is_the_wrapped_drivers(self) -> None:
        backup = self.made(all_is_well)
        self.assertEqual([(backup.id, b'xxxx', False)], Recorder.calls)

    def test_further_arguments_are_passed_on(self) -> None:
        volume = self.volume()
        with open(self.cinder_volume.device, 'rb') as device:
            self.manager.service(self.context).backup(
                self.backup(volume, service='it'), device,
                backup_metadata=True)
        self.assertTrue(Recorder.calls[0][2])

    def test_an_error_of_the_wrapped_driver_is_its_own(self) -> None:
        Recorder.error = exception.BackupOperationError('full')
        backup = self.create(self.backup(self.attached()))
        self.assertEqual('error', backup.status)
        self.assertIn('full', backup.fail_reason)

    def test_what_it_finds_in_the_point_in_time(self) -> None:
        self.cinder_volume.stores(disks.ext().data)
        backup = self.made(all_is_well, metadata={'job': '7'})
        self.assertEqual('clean', backup.metadata['wt:verified'])
        self.assertEqual('write-through', backup.metadata[LEVEL])
        # The wrapped driver reads from the beginning all the same.
        self.assertEqual(bytes(4), Recorder.calls[0][1])

    def test_what_contradicts_a_freeze(self) -> None:
        self.cinder_volume.stores(disks.ext(dirty=True).data)
        notified = self.useFixture(fixtures.MockPatch(
            'cinder.volume.volume_utils.notify_about_backup_usage')).mock
        log = self.useFixture(fixtures.FakeLogger())
        found = self.made(exec_blocked).metadata
        self.assertEqual(('flushed', 'journal'),
                         (found[LEVEL], found['wt:verified']))
        self.assertIn('does not look frozen', found[REASON])
        levels = [call.kwargs['extra_usage_info']['consistency'][LEVEL]
                  for call in notified.call_args_list
                  if call.args[2] == 'consistency']
        self.assertEqual(['flushed'], levels)
        told = [line for line in log.output.splitlines()
                if 'of volume' in line and ' is f' in line]
        self.assertEqual(1, len(told), told)
        self.assertIn('is flushed: the snapshot does not look frozen',
                      told[0])

    def test_an_unknown_end_of_the_window_claims_nothing(self) -> None:
        volume = self.attached()
        with open(self.cinder_volume.device, 'rb') as device:
            updates = self.manager.service(self.context).backup(
                self.backup(volume, service='it', temp_volume_id=volume.id),
                device)
        self.assertEqual('crash', updates['metadata'][LEVEL])
        self.assertIn('no claim is on record', updates['metadata'][REASON])


@ddt.ddt
class PlainTextTest(DriverTestCase):
    """What others say gets onto users' terminals, and into logs."""

    options = {**DriverTestCase.options, 'required_level': 'write-through'}

    @ddt.data(*FAILURES)
    def test_it_leaves_us_as_plain_text(self, spoil: Any) -> None:
        volume = self.attached()
        spoil(self.domain)
        log = self.useFixture(fixtures.FakeLogger())
        notified = self.useFixture(fixtures.MockPatch(
            'cinder.volume.volume_utils.notify_about_backup_usage')).mock
        backup = self.create(self.backup(volume))
        self.assertEqual('error', backup.status)
        told = [call.kwargs['extra_usage_info']['consistency'][REASON]
                for call in notified.call_args_list
                if call.args[2] == 'consistency']
        self.assertEqual(1, len(told))
        for text in (backup.fail_reason, *told, *log.output.split('\n')):
            self.assertFalse(text.startswith('2026-11-26'), text)
            self.assertTrue(text.isprintable(), text)
        self.assertIn('no luck 2026-11-26', backup.fail_reason + log.output)


@ddt.ddt
class RequiredTest(DriverTestCase):

    options = {**DriverTestCase.options, 'required_level': 'write-through'}

    def test_a_backup_that_reaches_it_is_made(self) -> None:
        backup = self.create(self.backup(self.attached()))
        self.assertEqual('available', backup.status)

    @ddt.data({}, {'wt:policy': 'off'}, {'wt:policy': 'require=flushed'})
    def test_a_backup_that_does_not_fails(self, metadata: dict[str, str]
                                          ) -> None:
        volume = self.attached(metadata=metadata)
        no_agent(self.domain)
        backup = self.create(self.backup(volume, metadata={'job': '7'}))
        volume.refresh()
        self.assertEqual('error', backup.status)
        self.assertIn('reached crash', backup.fail_reason)
        self.assertIn('no guest agent channel', backup.fail_reason)
        # As any failure of the driver: nothing stored, all cleaned up.
        self.assertEqual([], Recorder.calls)
        self.assertEqual('in-use', volume.status)
        self.assertIsNone(backup.temp_volume_id)

    def test_what_contradicts_it_fails_the_backup(self) -> None:
        self.cinder_volume.stores(disks.ext(dirty=True).data)
        volume = self.attached()
        exec_blocked(self.domain)
        backup = self.create(self.backup(volume))
        self.assertEqual('error', backup.status)
        self.assertIn('does not look frozen', backup.fail_reason)

    def test_the_volume_may_ask_for_more(self) -> None:
        volume = self.attached(metadata={'wt:policy': 'require=filesystem'})
        backup = self.create(self.backup(volume))
        self.assertEqual('error', backup.status)
        self.assertIn('filesystem is required', backup.fail_reason)

    def test_a_policy_changed_meanwhile_counts(self) -> None:
        volume = self.attached()

        def change() -> None:
            volume.metadata = {'wt:policy': 'oops'}
            volume.save()
        self.cinder_volume.before = change
        backup = self.create(self.backup(volume))
        self.assertEqual('error', backup.status)
        self.assertIn("'oops'", backup.fail_reason)
        self.assertIsNone(self.guardian.holder)

    def test_a_detached_volume_is_exempt(self) -> None:
        backup = self.create(self.backup(self.volume()))
        self.assertEqual('available', backup.status)

    def test_an_instance_that_is_shut_off_is_exempt(self) -> None:
        volume = self.attached()
        shut_off(self.domain)
        backup = self.create(self.backup(volume))
        self.assertEqual(('available', {}), (backup.status, backup.metadata))

    def test_an_instance_that_is_suspended_is_not(self) -> None:
        volume = self.attached()
        suspended(self.domain)
        backup = self.create(self.backup(volume))
        self.assertEqual('error', backup.status)
        self.assertIn('resume it', backup.fail_reason)
