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

"""The guest puts itself back, whatever happens to the host or in the guest."""

import time

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest.guardian import client as guardian
from cinder_wt_backup.guest import reach
from tests.functional import base

Level = claims.Level
# An emulated guest is slow, and slower still beside another suite.
TIMEOUT = 20
# Putting back takes a slow guest some seconds after the lease has ended.
PATIENCE = 30
# One that sees another gone undoes: so all are stopped first.
OURS = 'grep -las "leas[e].:" /proc/[0-9]*/cmdline | cut -d/ -f3'
KILL = f'all=$({OURS}); kill -STOP $all; kill -9 $all'


class Lease(base.OpenWindowTestCase):
    """A window that nobody closes; the guest does."""

    def as_host(self, token: str) -> guardian.Guardian:
        """Return a guardian of another host, which shares no lock."""
        reached = reach.connect(self.target(self.disk), TIMEOUT)
        found = reached.__enter__()
        self.addCleanup(reached.__exit__, None, None, None)
        self.agent: agent.Agent = found.agent
        return guardian.Guardian(found.agent, token, TIMEOUT)

    def wish(self, lease: int = 60, freeze: int = 0) -> guardian.StartRequest:
        """Return what a window is to be."""
        return guardian.StartRequest(
            self.disk.volume, None, lease, 5, freeze,
            guardian.BarrierWish.ALWAYS if freeze
            else guardian.BarrierWish.NEVER)

    def assert_released(self, mine: guardian.Guardian) -> None:
        """Release it, and see that it was open and is undone."""
        self.assertEqual(['undone'], [
            fs.undo for fs in mine.release().filesystems])

    def test_a_guest_puts_itself_back_when_the_host_dies(self) -> None:
        opened = self.open(lease=5)
        self.assert_put_back_in(5 + PATIENCE)
        opened.cover()
        proof = opened.close()
        self.assertEqual(Level.FLUSHED, proof.level, proof)
        self.assertIn('lease', proof.reason)

    def test_a_restarted_agent_keeps_the_level(self) -> None:
        opened = self.open(lease=60)
        self.machine.guest.spawn('systemctl', 'restart', 'qemu-guest-agent')
        time.sleep(2)
        self.machine.guest.wait()
        opened.cover()
        proof = opened.close()
        self.assertEqual(Level.WRITE_THROUGH, proof.level, proof)
        self.unchanged_by(self.before)

    def test_an_agent_killed_during_the_start_leaves_nothing(self) -> None:
        mine = self.as_host('aaaaaaaa')
        self.machine.guest.spawn('sh', '-c', 'sleep 1; systemctl kill '
                                 '--signal=KILL qemu-guest-agent')
        try:
            mine.start(self.wish(8))
        except exceptions.WriteThroughError:
            pass
        time.sleep(2)
        self.machine.guest.wait()
        self.assert_put_back_in(8 + PATIENCE)

    def test_nothing_is_changed_without_systemd_run(self) -> None:
        self.machine.shell('mv /usr/bin/systemd-run /usr/bin/hidden')
        self.addCleanup(self.machine.shell,
                        'mv /usr/bin/hidden /usr/bin/systemd-run')
        error = self.assertRaises(exceptions.GuardianUnable,
                                  self.as_host('aaaaaaaa').start,
                                  self.wish())
        self.assertIn('systemd-run', str(error))
        self.unchanged_by(self.before)

    def test_the_guardian_is_no_part_of_the_agents_service(self) -> None:
        mine = self.as_host('aaaaaaaa')
        mine.start(self.wish())
        self.assertIn('.scope', self.machine.shell(
            f'for each in $({OURS}); do cat /proc/$each/cgroup; done'))
        self.assert_released(mine)
        self.assert_put_back_in(PATIENCE)

    def test_another_host_is_refused_and_takes_nothing_over(self) -> None:
        mine, other = self.as_host('aaaaaaaa'), self.as_host('bbbbbbbb')
        mine.start(self.wish())
        self.assertRaises(exceptions.GuardianBusy, other.start, self.wish())
        self.assertRaises(exceptions.GuardianLapsed, other.release)
        self.assert_released(mine)
        self.assert_put_back_in(PATIENCE)

    def test_a_leftover_is_put_back_by_the_next_window(self) -> None:
        mine, other = self.as_host('aaaaaaaa'), self.as_host('bbbbbbbb')
        mine.start(self.wish())
        self.machine.shell(KILL)
        self.assert_synchronous()
        report = other.start(self.wish())
        self.assertEqual(['flagged'], [fs.state for fs in report.filesystems])
        self.assert_released(other)
        self.assert_put_back_in(PATIENCE)

    def test_a_leftover_is_put_back_by_a_release(self) -> None:
        mine = self.as_host('aaaaaaaa')
        mine.start(self.wish())
        self.machine.shell(KILL)
        self.assert_synchronous()
        self.assertRaises(exceptions.GuardianLapsed, mine.release)
        self.assert_put_back_in(PATIENCE)

    def test_a_frozen_root_file_system_is_thawed(self) -> None:
        self.disk = self.machine.boot_volume
        mine = self.as_host('aaaaaaaa')
        mine.start(self.wish(9, freeze=5))
        self.assertEqual(1, self.agent.freeze(['/']))
        time.sleep(12)
        self.assert_thawed('/etc')
        self.assertRaises(exceptions.GuardianLapsed, mine.release)
        self.assert_put_back_in(PATIENCE)

    def test_a_freeze_is_ended_long_before_the_lease_ends(self) -> None:
        mine = self.as_host('aaaaaaaa')
        mine.start(self.wish(60, freeze=3))
        self.assertEqual(1, self.agent.freeze([self.point]))
        time.sleep(5)
        self.assert_thawed(self.point)
        self.assert_synchronous()
        end = mine.release()
        self.assertEqual([True], [fs.thawed for fs in end.filesystems])
        self.assert_put_back_in(PATIENCE)

    def assert_thawed(self, folder: str) -> None:
        """See that the guest thawed itself: its agent has nothing to thaw."""
        self.assertEqual(0, self.agent.thaw())
        self.machine.shell(f'touch {folder}/writable')


class Tools(base.TestCase):
    """What a guest may lack: perl and mount(8) are not missed."""

    def _window_without(self, *programs: str,
                        **values: object) -> claims.Claim:
        disk = self.volume()
        self.mount(disk.name, 'mkfs.ext4 -q', 'noatime,commit=99')
        self.hide('/usr/bin/perl', '/usr/bin/mount', *programs)
        before = self.machine.guest.state()
        with self.window(disk, **values) as verdict:
            pass
        self.unchanged_by(before)
        return verdict[0]

    def test_without_perl_and_mount_it_is_write_through(self) -> None:
        proof = self._window_without()
        self.assertEqual(Level.WRITE_THROUGH, proof.level, proof)

    def test_without_python_and_freeze_it_is_flushed(self) -> None:
        proof = self._window_without('/usr/bin/python3',
                                     methods=['write_through'])
        self.assertEqual(Level.FLUSHED, proof.level, proof)
        self.assertIn('no Python', proof.reason)

    def test_without_python_it_is_frozen(self) -> None:
        proof = self._window_without('/usr/bin/python3')
        self.assertEqual((Level.FILESYSTEM, 'freeze'),
                         (proof.level, proof.method), proof)
