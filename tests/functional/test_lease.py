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

import fixtures

from cinder_wt_backup import agent
from cinder_wt_backup import evidence
from cinder_wt_backup import exceptions
from cinder_wt_backup import guardian
from cinder_wt_backup import guest
from tests.functional import base

Level = evidence.Level
TIMEOUT = 10
# Putting back takes a slow guest some seconds after the lease has ended.
PATIENCE = 30
# It knows neither --no-block (systemd 220) nor --collect (236).
OLD_SYSTEMD = b'''#!/bin/sh
case " $* " in *" --collect "*|*" --no-block "*) exit 1 ;; esac
exec /usr/bin/hidden "$@"
'''


class Lease(base.OpenWindowTestCase):
    """A window that nobody closes; the guest does."""

    def guardian(self, token: str) -> guardian.Guardian:
        """Return a guardian of another host, which shares no lock."""
        reached = guest.reach(self.target(self.disk), TIMEOUT)
        found = reached.__enter__()
        self.addCleanup(reached.__exit__, None, None, None)
        self.agent: agent.Agent = found.agent
        return guardian.Guardian(found.agent, token, TIMEOUT)

    def test_the_host_dies(self) -> None:
        opened = self.open(lease=5)
        self.assert_put_back_in(5 + PATIENCE)
        opened.covered()
        proof = opened.close()
        self.assertEqual(Level.FLUSHED, proof.level, proof)
        self.assertIn('lease', proof.reason)

    def test_the_agent_is_restarted_in_the_window(self) -> None:
        opened = self.open(lease=60)
        self.machine.guest.spawn('systemctl', 'restart', 'qemu-guest-agent')
        time.sleep(2)
        self.machine.guest.wait()
        opened.covered()
        proof = opened.close()
        self.assertEqual(Level.WRITE_THROUGH, proof.level, proof)
        self.unchanged_by(self.before)

    def test_the_agent_is_killed_while_it_starts(self) -> None:
        mine = self.guardian('aa')
        self.machine.guest.spawn('sh', '-c', 'sleep 1; systemctl kill '
                                 '--signal=KILL qemu-guest-agent')
        try:
            mine.start(self.disk.volume, None, 8, 5)
        except exceptions.WriteThroughError:
            pass
        time.sleep(2)
        self.machine.guest.wait()
        self.assert_put_back_in(8 + PATIENCE)

    def test_without_systemd_run(self) -> None:
        self.machine.shell('mv /usr/bin/systemd-run /usr/bin/hidden')
        self.addCleanup(self.machine.shell,
                        'mv /usr/bin/hidden /usr/bin/systemd-run')
        opened = self.open(lease=5)
        self.assert_put_back_in(5 + PATIENCE)
        opened.close()      # for its lock

    def test_with_an_older_systemd(self) -> None:
        self.machine.shell('mv /usr/bin/systemd-run /usr/bin/hidden')
        self.addCleanup(self.machine.shell,
                        'mv /usr/bin/hidden /usr/bin/systemd-run')
        self.machine.guest.put('/usr/bin/systemd-run', OLD_SYSTEMD)
        self.machine.shell('chmod +x /usr/bin/systemd-run')
        mine = self.guardian('aa')
        mine.start(self.disk.volume, None, 60, 5)
        # And so not in the agent's, which systemd ends as a whole.
        self.assertIn('/cinder-wt-backup.aa.service', self.machine.shell(
            'cat /proc/$(cat /run/cinder-wt-backup/keeper)/cgroup'))
        self.assertIn('same', mine.release().words)
        self.assert_put_back_in(PATIENCE)

    def test_another_host_waits_and_takes_nothing_over(self) -> None:
        mine, other = self.guardian('aa'), self.guardian('bb')
        mine.start(self.disk.volume, None, 60, 5)
        self.assertRaises(exceptions.GuardianBusy, other.start,
                          self.disk.volume, None, 60, 5)
        self.assertRaises(exceptions.GuardianLapsed, other.release)
        self.assertIn('same', mine.release().words)
        self.unchanged_by(self.before)

    def test_a_leftover_is_put_back_by_the_next_window(self) -> None:
        mine, other = self.guardian('aa'), self.guardian('bb')
        mine.start(self.disk.volume, None, 60, 5)
        self.machine.shell('kill -9 $(cat /run/cinder-wt-backup/keeper)')
        report = other.start(self.disk.volume, None, 60, 5)
        self.assertEqual(['sync'], [fs.state for fs in report.filesystems])
        other.release()
        self.assert_put_back_in(PATIENCE)

    def kill_a_release(self, token: str) -> None:
        """Have a release killed at work, as when the agent ends."""
        folder = f'/run/cinder-wt-backup.{token}'
        self.machine.shell(
            f'/bin/sh {folder}/guardian.start release {token} & p=$!; '
            f'while [ ! -s {folder}/taken ]; do :; done; kill -9 $p')
        self.assert_synchronous()

    def test_a_release_that_was_killed_is_finished_by_the_next(self) -> None:
        mine = self.guardian('aa')
        mine.start(self.disk.volume, None, 60, 5)
        self.kill_a_release('aa')
        self.assertIn('same', mine.release().words)
        self.unchanged_by(self.before)

    def test_a_release_that_was_killed_is_finished_by_the_lease(self) -> None:
        self.guardian('aa').start(self.disk.volume, None, 8, 5)
        self.kill_a_release('aa')
        self.assert_put_back_in(8 + PATIENCE)

    def test_a_release_is_made_by_the_program_that_started(self) -> None:
        mine = self.guardian('aa')
        mine.start(self.disk.volume, None, 60, 5)
        # The plugin is upgraded on the host while the window is open.
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.guardian.PROGRAM', b'exit 7'))
        self.assertIn('same', mine.release().words)
        self.unchanged_by(self.before)

    def test_frozen_root_file_system_is_thawed(self) -> None:
        self.disk = self.machine.boot_volume
        mine = self.guardian('aa')
        mine.start(self.disk.volume, None, 9, 5, freeze=60)
        self.assertEqual(1, self.agent.freeze(['/']))
        time.sleep(11)
        self.assert_thawed('/etc')
        self.assertRaises(exceptions.GuardianLapsed, mine.release)
        self.assert_put_back_in(PATIENCE)

    def test_frozen_it_is_thawed_long_before_the_lease_ends(self) -> None:
        mine = self.guardian('aa')
        mine.start(self.disk.volume, None, 60, 5, freeze=3)
        self.assertEqual(1, self.agent.freeze([self.point]))
        time.sleep(4)
        self.assert_thawed(self.point)
        self.assert_synchronous()
        self.assertIn('same', mine.release().words)
        self.assert_put_back_in(PATIENCE)

    def assert_thawed(self, folder: str) -> None:
        """See that the guest thawed itself: its agent has nothing to thaw."""
        self.assertEqual(0, self.agent.thaw())
        self.machine.shell(f'touch {folder}/writable')


class Tools(base.TestCase):
    """What a guest may lack."""

    def _window_without(self, *programs: str,
                        **values: object) -> evidence.Evidence:
        disk = self.volume()
        point = self.mount(disk.name, 'mkfs.ext4 -q', 'noatime,commit=99')
        # Whose options a mount(8) would take that is not told otherwise.
        self.machine.shell('touch /etc/fstab; cp /etc/fstab /etc/kept; echo "'
                           f'/dev/{disk.name} {point} ext4 commit=15,noauto" '
                           '>>/etc/fstab')
        self.addCleanup(self.machine.shell, 'mv /etc/kept /etc/fstab')
        self.hide(*programs)
        before = self.machine.guest.state()
        with self.window(disk, **values) as verdict:
            pass
        self.unchanged_by(before)
        return verdict[0]

    def test_without_perl(self) -> None:
        proof = self._window_without('/usr/bin/perl')
        self.assertEqual(Level.WRITE_THROUGH, proof.level, proof)

    def test_without_perl_and_python(self) -> None:
        proof = self._window_without('/usr/bin/perl', '/usr/bin/python3')
        self.assertEqual(Level.WRITE_THROUGH, proof.level, proof)

    def test_without_anything_that_sets_the_flag(self) -> None:
        proof = self._window_without('/usr/bin/perl', '/usr/bin/python3',
                                     '/usr/bin/mount',
                                     methods=['write_through'])
        self.assertEqual(Level.FLUSHED, proof.level, proof)
        self.assertIn('perl or python3', proof.reason)

    def test_without_anything_that_sets_the_flag_it_is_frozen(self) -> None:
        proof = self._window_without('/usr/bin/perl', '/usr/bin/python3',
                                     '/usr/bin/mount')
        self.assertEqual((Level.FILESYSTEM, 'write_through+freeze'),
                         (proof.level, proof.method), proof)
