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

import types
from typing import Any
from unittest import mock

from cinder import exception
from cinder.tests.unit import utils
import ddt
import fixtures
import libvirt

from tests.unit import base
from tests.unit.cinder_wt_backup.cmd import base as commands
from tests.unit.fixtures import agent as fake

NOVA = 'cinder.compute.nova.novaclient'


class CheckTestCase(commands.CommandTestCase):

    def check(self, *words: str) -> tuple[int, dict[str, tuple[str, str]]]:
        """Return the exit status, and result and text of the last row of each.

        The text has the remedy at its end.
        """
        status, out, _err = self.run_command('check', *words, '-f', 'json')
        return status, {row['what']: (row['result'], f'{row["detail"]} '
                                      f'{row["what to do"]}')
                        for row in self.loads(out)}

    def assert_row(self, result: str, text: str,
                   row: tuple[str, str]) -> None:
        self.assertEqual(result, row[0], row)
        self.assertIn(text, row[1])


@ddt.ddt
class InstallationTest(CheckTestCase):
    """This host, without any other."""

    options = ('libvirt_hosts = compute1',)

    def setUp(self) -> None:
        super().setUp()
        self.attached()

    def test_all_is_well(self) -> None:
        status, rows = self.check()
        self.assertEqual(0, status, rows)
        self.assertEqual({'success'}, {result for result, _ in rows.values()})
        self.assertLessEqual({'configuration', 'options', 'wrapped driver',
                              'this Cinder', 'database', 'coordination',
                              'hosts', 'host compute1'}, set(rows))

    def test_without_any_configuration_it_fails(self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'oslo_config.cfg.find_config_files', lambda *_a, **_k: []))
        self.config = ''
        status, rows = self.check()
        self.assertEqual(2, status)
        self.assert_row('failure', '--config-file', rows['configuration'])
        self.assert_row('failure', 'wrapped_driver', rows['wrapped driver'])

    def test_another_backup_driver_is_a_failure(self) -> None:
        with open(self.config, 'w') as file:
            file.write('[DEFAULT]\nbackup_driver = cinder.backup.drivers.'
                       'posix.PosixBackupDriver\n')
        status, rows = self.check()
        self.assertEqual(2, status)
        self.assert_row('failure', 'stock Cinder makes the backups',
                        rows['configuration'])

    def test_root_is_told_that_the_service_is_another_user(self) -> None:
        with (fixtures.MockPatch('os.geteuid', return_value=0),
              fixtures.MockPatch('pwd.getpwnam', return_value=mock.Mock(
                  pw_name='cinder'))):
            status, rows = self.check()
        self.assertEqual(1, status)
        self.assert_row('warning', 'sudo -u cinder', rows['user'])

    def test_a_file_that_is_not_there_is_a_failure_too(self) -> None:
        self.config = '/nowhere'
        status, _out, err = self.run_command('check')
        self.assertEqual(2, status)
        self.assertIn('/nowhere', err)

    @ddt.data('lease = 7', 'methods = pray', 'libvirt_hosts = a/b',
              'agent_timeout = two')
    def test_what_the_service_would_refuse_is_a_failure(self, line: str
                                                        ) -> None:
        self.configure(line)
        status, rows = self.check()
        self.assertEqual(2, status)
        self.assert_row('failure', line.split()[0], rows['options'])

    def test_options_that_contradict_each_other_are_a_warning(self) -> None:
        self.configure(*self.options, 'methods = freeze', 'barrier = freeze')
        status, rows = self.check()
        self.assertEqual(1, status)
        self.assert_row('warning', 'barrier = freeze', rows['options'])

    @ddt.data('', 'wrapped_driver = cinder.nowhere.Driver',
              'wrapped_driver = cinder_wt_backup.driver.Other')
    def test_no_driver_to_wrap_is_a_failure(self, line: str) -> None:
        with open(self.config, 'a') as file:
            file.write(f'{line or "wrapped_driver ="}\n')
        status, rows = self.check()
        self.assertEqual(2, status)
        self.assert_row('failure', 'wrapped_driver', rows['wrapped driver'])

    def test_a_cinder_that_lacks_something_is_a_failure(self) -> None:
        with fixtures.MockPatch(
                'cinder_wt_backup.service.assumptions._missing',
                return_value=['cinder.thing']):
            status, rows = self.check()
        self.assertEqual(2, status)
        self.assert_row('failure', 'cinder.thing', rows['this Cinder'])

    def test_a_database_that_is_away_is_one_row(self) -> None:
        with fixtures.MockPatch('cinder.objects.ServiceList.get_all',
                                side_effect=exception.CinderException(
                                    'gone\n[SQL: SELECT secrets]')):
            status, rows = self.check()
        self.assertEqual(2, status)
        self.assert_row('failure', 'gone', rows['database'])
        self.assertNotIn('SELECT', rows['database'][1])
        self.assert_row('warning', 'gone', rows['coordination'])
        self.assert_row('success', '', rows['host compute1'])

    def test_coordination_that_is_away_is_one_row(self) -> None:
        with fixtures.MockPatch('cinder.coordination.COORDINATOR.start',
                                side_effect=OSError('etcd is away')):
            status, rows = self.check()
        self.assertEqual(2, status)
        self.assert_row('failure', 'etcd is away', rows['coordination'])
        self.assert_row('success', '', rows['host compute1'])

    def test_locks_of_one_host_for_two_are_a_warning(self) -> None:
        for host in ('backup1', 'backup2'):
            utils.create_service(self.context, {
                'host': host, 'topic': 'cinder-backup',
                'binary': 'cinder-backup'})
        status, rows = self.check()
        self.assertEqual(1, status)
        self.assert_row('warning', '2 hosts of cinder-backup',
                        rows['coordination'])
        self.assert_row('success', '2 hosts', rows['database'])


@ddt.ddt
class HostsTest(CheckTestCase):
    """The compute hosts."""

    options = ('libvirt_hosts = compute1,compute2', 'agent_timeout = 5')

    def test_every_known_one_is_tried(self) -> None:
        self.attached()
        status, rows = self.check()
        self.assertEqual(2, status)
        self.assert_row('success', '1 instances run there',
                        rows['host compute1'])
        self.assert_row('failure', 'nothing listens', rows['host compute2'])

    def test_those_that_are_named_are_tried(self) -> None:
        self.attached()
        status, rows = self.check('--host', 'compute1')
        self.assertEqual(0, status)
        self.assertNotIn('host compute2', rows)

    def test_one_that_backups_never_use_is_a_failure(self) -> None:
        status, rows = self.check('--host', 'compute7')
        self.assertEqual(2, status)
        self.assert_row('failure', 'libvirt_hosts does not name it',
                        rows['host compute7'])

    def test_one_of_which_no_uri_can_be_made_is_a_failure(self) -> None:
        self.configure()
        status, rows = self.check('--host', 'a/b')
        self.assertEqual(2, status)
        self.assert_row('failure', 'no URI', rows['host a/b'])

    def test_a_name_of_novas_that_makes_no_uri_is_a_failure(self) -> None:
        self.configure()
        client = mock.Mock()
        client.services.list.return_value = [
            types.SimpleNamespace(host='a/b')]
        with fixtures.MockPatch(NOVA, return_value=client):
            status, rows = self.check()
        self.assertEqual(2, status)
        self.assert_row('failure', 'no URI', rows['host a/b'])

    @ddt.data('libvirt_hosts = a..b', 'libvirt_uri = qemu+tls://{host}:x/')
    def test_what_cannot_be_connected_to_is_a_row(self, line: str) -> None:
        self.configure(*self.options, line)
        status, rows = self.check()
        self.assertEqual(2, status)
        self.assertIn('failure', {row[0] for name, row in rows.items()
                                  if name.startswith('host ')})

    def test_one_without_instances_is_a_warning(self) -> None:
        self.attached()
        self.libvirt.domains[base.libvirt.URI % 'compute2'] = []
        status, rows = self.check()
        self.assertEqual(1, status)
        self.assert_row('warning', '0 instances run there',
                        rows['host compute2'])

    def test_one_that_forbids_agent_commands_is_a_failure(self) -> None:
        self.attached()
        self.libvirt.forbids_agents = True
        _status, rows = self.check('--host', 'compute1')
        self.assert_row('failure', 'access denied', rows['host compute1'])

    def test_nothing_is_sent_to_an_agent(self) -> None:
        self.attached()
        _status, rows = self.check('--host', 'compute1')
        self.assert_row('success', 'agent commands are permitted',
                        rows['host compute1'])
        self.assertEqual([], self.domain.agent.commands)

    def test_one_that_is_shut_off_is_tried_first(self) -> None:
        self.attached()
        self.domain.state_now = libvirt.VIR_DOMAIN_SHUTOFF
        stopped = self.domain
        self.attached()
        tried = []
        command = self.libvirt._agent_command

        def note(domain: Any, *args: Any) -> str:
            tried.append(domain)
            return command(domain, *args)
        self.useFixture(fixtures.MonkeyPatch('libvirt_qemu.qemuAgentCommand',
                                             note))
        _status, rows = self.check('--host', 'compute1')
        self.assert_row('success', 'agent commands are permitted',
                        rows['host compute1'])
        self.assertEqual([stopped], tried)

    def test_nova_names_them_where_no_option_does(self) -> None:
        self.configure()
        self.attached()
        client = mock.Mock()
        client.services.list.return_value = [
            types.SimpleNamespace(host='compute1')]
        with fixtures.MockPatch(NOVA, return_value=client):
            status, rows = self.check()
        self.assertEqual(0, status, rows)
        self.assert_row('success', 'names 1 compute hosts', rows['Nova'])

    def test_wrong_credentials_of_nova_are_a_failure(self) -> None:
        self.configure()
        with fixtures.MockPatch(NOVA, side_effect=ValueError('unauthorized')):
            status, rows = self.check()
        self.assertEqual(2, status)
        self.assert_row('failure', 'unauthorized', rows['Nova'])
        self.assertIn('[nova] section', rows['Nova'][1])


class VolumeTest(CheckTestCase):
    """One volume, or one instance."""

    options = ('libvirt_hosts = compute1',)

    def setUp(self) -> None:
        super().setUp()
        self.target = self.attached()
        self.subject = f'instance {self.domain.instance}'

    def test_what_a_backup_would_be_made_by(self) -> None:
        status, rows = self.check(self.target.id)
        self.assertEqual(0, status, rows)
        self.assert_row('success', 'by write_through, and be write-through',
                        rows[self.subject])
        self.assertNotIn('host compute1', rows)

    def test_nothing_is_run_or_frozen_in_the_guest(self) -> None:
        self.check(self.target.id)
        self.assertEqual({'guest-info', fake.FSINFO},
                         set(self.domain.agent.commands))

    def test_what_a_guest_blocks_is_a_warning_with_its_remedy(self) -> None:
        self.domain.agent.blocked.add(fake.EXEC)
        status, rows = self.check(self.target.id)
        self.assertEqual(1, status)
        self.assert_row('warning', 'blocks guest-exec', rows[self.subject])
        self.assertIn('made by freeze', rows[self.subject][1])
        self.assertIn('/etc/sysconfig/qemu-ga', rows[self.subject][1])

    def test_a_guest_that_blocks_all_is_a_failure(self) -> None:
        self.domain.agent.blocked |= {fake.EXEC, fake.FREEZE}
        status, rows = self.check(self.target.id)
        self.assertEqual(2, status)
        self.assert_row('failure', 'crash-consistent', rows[self.subject])

    def test_what_an_owner_forbids_is_said(self) -> None:
        self.says('no-exec')
        _status, rows = self.check(self.target.id)
        self.assert_row('warning', 'the owner of the volume permits no '
                        'programs', rows[self.subject])

    def test_all_volumes_of_an_instance(self) -> None:
        status, rows = self.check('--server', self.domain.instance)
        self.assertEqual(0, status)
        self.assertIn(f'volume {self.target.id}', rows)

    def test_one_that_is_not_attached_is_as_in_stock(self) -> None:
        volume = self.volume(status='available')
        status, rows = self.check(volume.id)
        self.assertEqual(0, status)
        self.assert_row('success', 'is not in use',
                        rows[f'volume {volume.id}'])

    def test_one_in_use_that_nothing_has_is_a_failure(self) -> None:
        volume = self.volume(status='in-use')
        status, rows = self.check(volume.id)
        self.assertEqual(2, status)
        self.assert_row('failure', 'is attached to nothing',
                        rows[f'volume {volume.id}'])

    def says(self, wish: str) -> None:
        self.target.metadata = {'wt:policy': wish}
        self.target.save()

    def test_an_owner_who_wants_none_is_a_warning(self) -> None:
        self.says('off')
        status, rows = self.check(self.target.id)
        self.assertEqual(1, status)
        self.assert_row('warning', 'wt:policy = off',
                        rows[f'volume {self.target.id}'])

    def test_a_policy_that_fails_backups_is_a_failure(self) -> None:
        self.says('more')
        status, rows = self.check(self.target.id)
        self.assertEqual(2, status)
        self.assert_row('failure', 'wt:policy',
                        rows[f'volume {self.target.id}'])

    def test_a_level_that_is_not_reached_is_a_failure(self) -> None:
        self.says('require=filesystem')
        status, rows = self.check(self.target.id)
        self.assertEqual(2, status)
        self.assert_row('failure', 'it would fail', rows[self.subject])

    def test_a_barrier_that_a_guest_blocks_is_a_warning(self) -> None:
        self.configure(*self.options, 'barrier = freeze')
        self.assert_row('success', 'and be filesystem',
                        self.check(self.target.id)[1][self.subject])
        self.domain.agent.blocked.add(fake.FREEZE)
        status, rows = self.check(self.target.id)
        self.assertEqual(1, status)
        self.assert_row('warning', 'barrier: ', rows[self.subject])

    def test_nothing_to_freeze_is_a_failure(self) -> None:
        self.configure(*self.options, 'methods = freeze')
        self.domain.agent.answers[fake.FSINFO] = lambda: []
        status, rows = self.check(self.target.id)
        self.assertEqual(2, status)
        self.assert_row('failure', 'can be frozen', rows[self.subject])

    def test_one_that_is_not_there_is_a_failure(self) -> None:
        status, rows = self.check('nothing')
        self.assertEqual(2, status)
        self.assert_row('failure', 'could not be found',
                        rows['volume nothing'])

    def test_an_instance_without_volumes_is_a_failure(self) -> None:
        status, rows = self.check('--server', 'none')
        self.assertEqual(2, status)
        self.assert_row('failure', 'no volume is attached',
                        rows['instance none'])

    def test_an_instance_that_is_paused_is_a_failure(self) -> None:
        self.domain.state_now = 3
        _status, rows = self.check(self.target.id)
        self.assert_row('failure', 'paused', rows[self.subject])

    def test_a_silent_agent_is_a_failure(self) -> None:
        self.domain.channel = 'disconnected'
        _status, rows = self.check(self.target.id)
        self.assert_row('failure', 'agent', rows[self.subject])

    def test_what_a_guest_says_is_made_plain(self) -> None:
        self.domain.agent.answers[fake.FSINFO] = lambda: [
            fake.mount('/mnt\x1b[2J', serial=self.target.id)]
        _status, out, _err = self.run_command('check', self.target.id)
        self.assertNotIn('\x1b', out)
