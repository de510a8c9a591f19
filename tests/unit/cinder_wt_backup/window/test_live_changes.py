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

import threading
from typing import Any

import libvirt

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.window import volume as windows
from tests.unit import base
from tests.unit.fixtures import agent as fake
from tests.unit.fixtures import libvirt as hosts

Level = claims.Level


class LiveChangesTest(base.WindowTestCase):
    """What happens to the instance while its window is open."""

    def opened(self, **values: Any) -> windows.Window:
        self.libvirt.domains.setdefault(hosts.URI % 'compute2', [])
        uris = (hosts.URI % base.HOST, hosts.URI % 'compute2')
        opened = self.window(self.target(uris=uris), **values)
        opened.open()
        opened.cover()
        return opened

    def closed(self, opened: windows.Window) -> claims.Claim:
        proof = opened.close()
        self.assertEqual([], self.libvirt.in_use)
        return proof

    def test_it_is_released_where_it_was_migrated_to(self) -> None:
        opened = self.opened()
        before = opened.round_trips
        self.libvirt.migrate(self.domain, 'compute2')
        self.assertEqual(Level.WRITE_THROUGH, self.closed(opened).level)
        self.assertIsNone(self.guardian.holder)
        self.assertLess(before, opened.round_trips)
        self.assertFalse(opened.left_changed)

    def test_where_its_flushes_are_ignored_it_is_released_too(self) -> None:
        opened = self.opened()
        moved = self.libvirt.migrate(self.domain, 'compute2')
        moved.disks = [moved.disks[0].replace('writeback', 'unsafe')]
        proof = self.closed(opened)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('disk_cachemodes', proof.reason)
        self.assertIsNone(self.guardian.holder)
        self.assertFalse(opened.left_changed)

    def test_it_is_thawed_there(self) -> None:
        opened = self.opened(methods=['freeze'])
        self.libvirt.migrate(self.domain, 'compute2')
        self.assertEqual(Level.FILESYSTEM, self.closed(opened).level)
        self.assertEqual([], self.domain.agent.frozen)

    def test_for_a_moment_it_runs_at_neither_host(self) -> None:
        opened = self.opened()
        moved = self.libvirt.migrate(self.domain, 'compute2')
        moved.state_now = libvirt.VIR_DOMAIN_PAUSED
        arrives = threading.Timer(0.3, setattr, (
            moved, 'state_now', libvirt.VIR_DOMAIN_RUNNING))
        arrives.start()
        self.assertEqual(Level.WRITE_THROUGH, self.closed(opened).level)
        arrives.join()

    def test_a_paused_one_is_left_to_its_lease(self) -> None:
        opened = self.opened(agent_timeout=1)
        self.domain.state_now = libvirt.VIR_DOMAIN_PAUSED
        proof = self.closed(opened)
        self.assertEqual(Level.CRASH, proof.level)
        self.assertIn('does not run', proof.reason)
        self.assertTrue(opened.left_changed)
        self.assertIn('when its lease ends', self.log.output)

    def test_one_that_was_suspended_forgot_nothing(self) -> None:
        opened = self.opened(agent_timeout=1)
        self.domain.suspend_to_disk()
        self.assertEqual(Level.CRASH, self.closed(opened).level)
        self.assertTrue(opened.left_changed)

    def test_one_that_was_shut_off_forgot_everything(self) -> None:
        opened = self.opened()
        self.domain.state_now = libvirt.VIR_DOMAIN_SHUTOFF
        proof = self.closed(opened)
        self.assertEqual(Level.FLUSHED, proof.level)
        self.assertIn('was shut off', proof.reason)
        self.assertFalse(opened.left_changed)
        self.assertNotIn('could not be put back', self.log.output)

    def test_an_agent_that_was_restarted_is_asked_again(self) -> None:
        opened = self.opened()

        def forgotten(pid: int) -> None:
            del self.domain.agent.answers[fake.STATUS]
            raise fake.Refused(f'PID {pid} does not exist')
        self.domain.agent.answers[fake.STATUS] = forgotten
        self.assertEqual(Level.FLUSHED, self.closed(opened).level)
        self.assertFalse(opened.left_changed)
