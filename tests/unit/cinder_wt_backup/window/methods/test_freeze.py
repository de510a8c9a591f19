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

import time
from typing import Any

import ddt
import fixtures

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.window.methods import freeze
from tests.unit import base
from tests.unit.fixtures import agent as fake

Level = claims.Level


def silent(**_arguments: Any) -> None:
    raise fake.Silent


@ddt.ddt
class FreezeTest(base.GuestTestCase):

    def method(self, **options: Any) -> freeze.Freeze:
        return freeze.Freeze(self.reached(), base.TOKEN,
                             base.settings(**options))

    def test_it_needs_no_guest_exec(self) -> None:
        self.domain.agent.blocked = {fake.EXEC, fake.STATUS}
        self.method().check()

    @ddt.data(fake.FREEZE, fake.THAW, fake.FREEZE_STATUS, fake.FSINFO)
    def test_it_needs_all_that_freezing_takes(self, command: str) -> None:
        self.domain.agent.blocked = {command}
        error = self.assertRaises(exceptions.CommandBlocked,
                                  self.method().check)
        self.assertIn(command, str(error))

    def test_the_operator_may_forbid_it(self) -> None:
        self.domain.agent.blocked = {fake.EXEC}
        error = self.assertRaises(
            exceptions.CommandBlocked,
            self.method(freeze_without_lease=False).check)
        self.assertIn('freeze_without_lease', str(error))

    def test_a_freeze_that_held_is_as_good_as_unmounted(self) -> None:
        self.domain.agent.mounts = [
            fake.mount('/', 'vda1', slot=3), fake.mount('/mnt', 'vdb1'),
            fake.mount('/srv', 'vdb2', 'xfs')]
        method = self.method()
        method.engage()
        self.assertEqual(['/mnt', '/srv'], self.domain.agent.frozen)
        proof = method.release()
        self.assertEqual((Level.FILESYSTEM, '', 'freeze'),
                         (proof.level, proof.reason, proof.method))
        self.assertEqual({'ext4': 1, 'xfs': 1}, proof.filesystems)

    def test_a_freeze_that_did_not_hold_has_only_flushed(self) -> None:
        method = self.method()
        method.engage()
        self.domain.agent.thaw_by_itself()
        proof = method.release()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('0 of 1', proof.reason)

    def test_a_volume_without_filesystem_cannot_be_frozen(self) -> None:
        self.domain.agent.mounts = []
        method = self.method()
        self.assertRaises(exceptions.AgentError, method.engage)
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_a_mount_made_meanwhile_was_not_frozen(self) -> None:
        method = self.method()
        method.engage()
        self.domain.agent.mounts.append(fake.mount('/srv', 'vdb2'))
        proof = method.release()
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('mounted or unmounted', proof.reason)

    def boot_volume(self, *others: dict[str, Any]) -> freeze.Freeze:
        self.domain.agent.mounts = [
            fake.mount('/', 'vdb2', 'xfs'),
            fake.mount('/boot/efi', 'vdb1', 'vfat'), *others]
        return self.method()

    def test_a_boot_volume_with_its_efi_partition(self) -> None:
        method = self.boot_volume()
        method.engage()
        self.assertEqual(['/'], self.domain.agent.frozen)
        proof = method.release()
        self.assertEqual(
            (Level.FILESYSTEM, 'the EFI system partition at /boot/efi is not '
             'covered', {'xfs': 1}),
            (proof.level, proof.reason, proof.filesystems))

    def test_an_automount_of_it_is_no_change(self) -> None:
        method = self.boot_volume()
        method.engage()
        del self.domain.agent.mounts[1]
        self.assertEqual(Level.FILESYSTEM, method.release().level)

    def test_what_else_cannot_be_frozen_was_not_flushed(self) -> None:
        method = self.boot_volume(fake.mount('/data', 'vdb3', 'vfat'))
        method.engage()
        self.assertEqual(['/'], self.domain.agent.frozen)
        proof = method.release()
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('vfat can neither be frozen', proof.reason)

    def test_where_nothing_can_be_frozen_that_is_said(self) -> None:
        self.domain.agent.mounts = [fake.mount('/data', 'vdb1', 'vfat')]
        error = self.assertRaises(exceptions.AgentError, self.method().engage)
        self.assertIn('can be frozen: vfat', str(error))
        self.assertNotIn(fake.FREEZE, self.domain.agent.commands)

    def test_nothing_but_the_freeze_is_to_be_put_back(self) -> None:
        self.domain.agent.blocked = {fake.EXEC}
        self.method().recover()
        self.assertEqual(['guest-info'], self.domain.agent.commands)


class LeaseTest(base.GuestTestCase):
    """Of a freeze in a guest that runs programs, though not in Python."""

    def method(self, **values: Any) -> freeze.Freeze:
        return freeze.Freeze(self.reached(), base.TOKEN,
                             base.settings(**values))

    def test_it_is_there_while_the_guest_is_frozen(self) -> None:
        self.domain.agent.mounts = [fake.mount('/mnt', 'vdb1'),
                                    fake.mount('/srv', 'vdb2', 'xfs')]
        method = self.method(agent_timeout=2, freeze_timeout=4)
        method.check()
        method.engage()
        self.assertEqual(['8', 'vdb1', 'vdb2'],
                         self.guardian.leases[base.TOKEN])
        self.assertEqual(Level.FILESYSTEM, method.release().level)
        self.assertEqual({}, self.guardian.leases)

    def test_it_ends_with_a_freeze_that_expired(self) -> None:
        method = self.method(freeze_timeout=1)
        method.engage()
        time.sleep(1.3)
        self.assertEqual({}, self.guardian.leases)
        self.assertEqual(Level.FLUSHED, method.release().level)

    def test_what_somebody_else_froze_first_is_not_thawed_by_it(self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.window.methods.freeze.REMOVE_AGAIN', 0.02))
        agent, asked = self.domain.agent, []

        def freeze_status() -> str:
            asked.append(agent.frozen)
            # He thaws it right after the last of these answers.
            agent.frozen = ['/of-another'] if len(asked) < 4 else []
            return 'frozen'
        agent.answers[fake.FREEZE_STATUS] = freeze_status
        self.assertRaises(exceptions.GuestFrozen, self.method().engage)
        self.assertEqual({}, self.guardian.leases)
        self.assertNotIn(fake.FREEZE, agent.commands)

    def test_where_there_is_none_the_operator_decides(self) -> None:
        self.guardian.lease_status = 1
        method = self.method(freeze_without_lease=False)
        method.check()
        self.assertRaises(exceptions.CommandBlocked, method.engage)
        self.assertEqual([], self.domain.agent.frozen)
        self.method().engage()
        self.assertEqual(['/mnt'], self.domain.agent.frozen)

    def test_a_strange_name_gets_none(self) -> None:
        self.domain.agent.mounts = [fake.mount('/mnt', 'vdb1; reboot')]
        self.method().engage()
        self.assertEqual({}, self.guardian.leases)

    def test_what_a_host_that_is_gone_left_is_removed(self) -> None:
        self.method().engage()
        self.domain.agent.frozen = []
        self.method().recover()
        self.assertEqual({}, self.guardian.leases)
