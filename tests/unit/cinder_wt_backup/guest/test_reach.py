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

import ddt
import libvirt

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest import reach
from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import libvirt as hosts


class ReachTest(base.GuestTestCase):

    def test_a_guest_is_reached_and_left(self) -> None:
        with reach.connect(self.target(), 5) as found:
            self.assertEqual('vdb', found.disk.target)
            self.assertEqual(base.VOLUME, found.volume)
        self.assertEqual([], self.libvirt.in_use)

    def test_reaching_changes_and_asks_nothing_in_the_guest(self) -> None:
        self.reached()
        self.assertEqual([], self.domain.agent.commands)

    def unreached(self, kind: type, **changes: object) -> str:
        reaching = reach.connect(self.target(**changes), 5)
        error = self.assertRaises(kind, reaching.__enter__)
        self.assertEqual([], self.libvirt.in_use)
        return str(error)

    def test_an_unknown_host_is_said(self) -> None:
        self.assertIn('is not known', self.unreached(
            exceptions.HostUnreachable, uris=()))

    def test_a_refused_instance_is_left_alone(self) -> None:
        self.unreached(exceptions.DomainNotFound, project='other')
        self.assertEqual([], self.domain.agent.commands)

    def test_after_a_live_migration_the_other_host_has_it(self) -> None:
        self.libvirt.add('compute2', hosts.Domain(base.VOLUME, base.PROJECT))
        uris = (hosts.URI % 'compute2', hosts.URI % base.HOST)
        with reach.connect(self.target(uris=uris), 5) as found:
            self.assertEqual(self.domain.instance, found.instance)

    def test_it_is_asked_where_it_is_today(self) -> None:
        target = self.target(uris=(hosts.URI % 'compute2',),
                             elsewhere=lambda: (hosts.URI % base.HOST,))
        with reach.connect(target, 5) as found:
            self.assertEqual(self.domain.instance, found.instance)

    def test_during_a_live_migration_the_one_that_runs_counts(self) -> None:
        incoming = self.libvirt.add('compute2', hosts.Domain(
            base.VOLUME, base.PROJECT, instance=self.domain.instance))
        incoming.state_now = libvirt.VIR_DOMAIN_PAUSED
        uris = (hosts.URI % 'compute2', hosts.URI % base.HOST)
        with reach.connect(self.target(uris=uris), 5) as found:
            found.agent.is_frozen()
        self.assertEqual([], incoming.agent.commands)
        self.assertEqual([fake.FREEZE_STATUS], self.domain.agent.commands)

    def test_an_unreachable_host_does_not_hide_the_other(self) -> None:
        uris = (hosts.URI % 'gone', hosts.URI % base.HOST)
        with reach.connect(self.target(uris=uris), 5) as found:
            self.assertEqual(self.domain.instance, found.instance)

    def test_it_may_run_on_a_host_that_does_not_answer(self) -> None:
        self.domain.state_now = libvirt.VIR_DOMAIN_SHUTOFF
        self.unreached(exceptions.HostUnreachable,
                       uris=(hosts.URI % 'gone', hosts.URI % base.HOST))

    def test_where_it_came_from_it_may_be_shut_off(self) -> None:
        incoming = self.libvirt.add('compute2', hosts.Domain(
            base.VOLUME, base.PROJECT, instance=self.domain.instance))
        incoming.state_now = libvirt.VIR_DOMAIN_PAUSED
        self.domain.state_now = libvirt.VIR_DOMAIN_SHUTOFF
        uris = (hosts.URI % 'compute2', hosts.URI % base.HOST)
        self.assertIn('paused', self.unreached(
            exceptions.DomainNotRunning, uris=uris))


class RequireTest(base.GuestTestCase):

    def test_what_is_permitted_is_asked_once(self) -> None:
        found = self.reached()
        found.require(agent.EXEC)
        found.require(agent.FREEZE, agent.THAW)
        self.assertEqual(['guest-info'], self.domain.agent.commands)

    def test_what_is_blocked_is_named_with_a_remedy(self) -> None:
        self.domain.agent.blocked = {fake.EXEC, fake.STATUS}
        error = self.assertRaises(exceptions.CommandBlocked,
                                  self.reached().require, agent.EXEC)
        self.assertIn('blocks guest-exec: permit it', str(error))

    def test_a_few_messages_are_enough_to_know_it(self) -> None:
        self.domain.agent.blocked = {fake.EXEC, fake.STATUS}
        found = self.reached()
        for _ in range(3):
            self.assertRaises(exceptions.CommandBlocked, found.require,
                              agent.EXEC)
        self.assertEqual(['guest-info', *3 * [fake.FREEZE_STATUS]],
                         self.domain.agent.commands)

    def freeze(self) -> None:
        self.domain.agent.frozen = ['/mnt']

    def thaw_when_asked(self, command: str) -> None:
        """Have somebody thaw it just before it is asked for that."""
        answer = getattr(self.domain.agent, command.replace('-', '_'))

        def thawed() -> object:
            self.domain.agent.frozen = []
            return answer()
        self.domain.agent.answers[command] = thawed

    def test_a_freeze_that_ends_meanwhile_blocks_nothing(self) -> None:
        self.freeze()
        self.thaw_when_asked(fake.FREEZE_STATUS)
        self.reached().require(agent.EXEC)
        self.assertEqual(['guest-info', fake.FREEZE_STATUS, 'guest-info'],
                         self.domain.agent.commands)

    def test_what_is_blocked_then_is_so_still(self) -> None:
        self.freeze()
        self.domain.agent.blocked = {fake.EXEC, fake.STATUS}
        self.thaw_when_asked(fake.FREEZE_STATUS)
        self.assertRaises(exceptions.CommandBlocked, self.reached().require,
                          agent.EXEC)

    def test_an_agent_that_permits_nothing_is_not_asked_for_ever(self
                                                                 ) -> None:
        self.domain.agent.blocked = set(fake.COMMANDS) - {
            'guest-info', fake.FREEZE_STATUS}
        self.assertRaises(exceptions.CommandBlocked, self.reached().require,
                          agent.EXEC)
        self.assertEqual(2 * ['guest-info', fake.FREEZE_STATUS],
                         self.domain.agent.commands)

    def test_it_may_be_frozen_again(self) -> None:
        self.freeze()

        def thawed() -> str:
            del self.domain.agent.answers[fake.FREEZE_STATUS]
            return 'thawed'
        self.domain.agent.answers[fake.FREEZE_STATUS] = thawed
        self.assertRaises(exceptions.GuestFrozen, self.reached().require,
                          agent.EXEC)


@ddt.ddt
class MountsTest(base.GuestTestCase):

    def mounts(self, *found: dict) -> list[str]:
        self.domain.agent.mounts = list(found)
        return [mount.mountpoint for mount in self.reached().mounts()]

    def test_only_those_on_the_volume(self) -> None:
        self.assertEqual(['/mnt'], self.mounts(
            fake.mount('/', 'vda1', slot=3), fake.mount('/mnt'),
            fake.mount('/srv', 'vdc', slot=5)))

    def test_each_filesystem_once(self) -> None:
        self.assertEqual(2, len(self.mounts(
            fake.mount('/mnt', 'vdb1'), fake.mount('/bind', 'vdb1'),
            fake.mount('/srv', 'vdb2'))))

    @ddt.data(base.VOLUME[:20], base.VOLUME,
              f'0QEMU_QEMU_HARDDISK_{base.VOLUME}',
              f'0QEMU_QEMU_HARDDISK_{base.VOLUME[:20]}')
    def test_by_the_serial_that_the_bus_shows(self, serial: str) -> None:
        self.assertEqual(['/mnt'], self.mounts(
            fake.mount('/mnt', slot=9, serial=serial)))

    def test_another_volumes_serial_is_none(self) -> None:
        self.assertEqual([], self.mounts(
            fake.mount('/mnt', slot=9, serial='b4982750-b08e-4ef2-8')))

    def test_a_freeze_in_between_is_no_refusal(self) -> None:
        found = self.reached()
        self.domain.agent.frozen = ['/mnt']
        self.assertRaises(exceptions.GuestFrozen, found.mounts)

    def test_a_refusal_is_one(self) -> None:
        self.domain.agent.blocked = {fake.FSINFO}
        self.assertRaises(exceptions.AgentRefused, self.reached().mounts)
