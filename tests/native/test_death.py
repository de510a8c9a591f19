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

"""Whoever dies, and whenever: the guest is put back (G2, G11, G20, G23)."""

import pathlib
import signal
import subprocess

from cinder_wt_backup.guest.guardian.inside import protocol
from tests.support.loop import base

Status = protocol.Status


class DeathTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.volume_disk = self.disk('ext4')

    def open_window(self, **fields: int) -> None:
        self.assertEqual(['flagged'], self.start(self.volume_disk,
                                                 **fields).states)

    def test_workers_undo_when_the_supervisor_is_killed(self) -> None:
        self.open_window()
        self.kill(self.holders()[:1])
        self.wait_until_undone()
        self.assertEqual(Status.LAPSED, self.release().status)
        self.assertFalse((base.RECORD / 'journal').exists())

    def test_the_window_is_undone_when_a_worker_is_killed(self) -> None:
        self.open_window()
        self.kill(self.holders()[1:])
        self.wait_until_undone()
        self.assertEqual(Status.LAPSED, self.release().status)

    def _kill_all(self) -> None:
        self.open_window()
        holders = self.holders()
        self.kill(holders[1:], signal.SIGSTOP)
        self.kill(holders)
        self.wait_for(lambda: not self.holders())
        self.assertIn('sync', self.options())

    def test_a_release_undoes_after_all_are_killed(self) -> None:
        self._kill_all()
        self.assertEqual(Status.LAPSED, self.release().status)
        self.wait_until_undone()

    def test_the_next_start_undoes_first_after_all_are_killed(self) -> None:
        self._kill_all()
        self.token = 'feedbeef'
        self.assertEqual(['flagged'], self.start(self.volume_disk).states)
        self.assertEqual(['undone'], self.release().undone)
        self.assertNotIn('sync', self.options())

    def test_a_release_after_all_are_killed_says_inode32_again(self) -> None:
        base.run('umount', str(self.point))
        self.volume_disk = self.disk('xfs', 'inode32')
        before = self.options()
        self._kill_all()
        self.assertEqual(Status.LAPSED, self.command('release').status)
        self.assertEqual(before, self.options())

    def test_workers_end_a_freeze_when_the_supervisor_is_killed(self) -> None:
        self.open_window(freeze=2, barrier='always')
        base.run('fsfreeze', '-f', str(self.point))
        self.kill(self.holders()[:1])
        (self.point / 'file').write_text('waits')
        self.wait_until_undone()
        self.assertEqual(Status.LAPSED, self.release().status)

    def test_a_release_undoes_at_once_without_the_supervisor(self) -> None:
        """Nobody else's freeze is ended then: workers need not wait for it."""
        self.open_window(freeze=30, barrier='always')
        self.kill(self.holders()[:1])
        self.assertEqual(Status.LAPSED, self.release().status)
        self.assertEqual([], self.holders())
        self.assertNotIn('sync', self.options())
        self.assertFalse(base.RECORD.exists())

    def test_a_release_that_overtakes_its_start_is_stuck(self) -> None:
        request = f'{{"token": "{self.token}"}}'
        command = ['sh', '-c', 'read line; true', 'guardian', 'start', request]
        for user, status in (([], Status.STUCK), ([
                'setpriv', '--reuid=65534', '--regid=65534',
                '--clear-groups'], Status.LAPSED)):
            start = subprocess.Popen([*user, *command], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE)
            self.wait_for(lambda: b'guardian' in pathlib.Path(
                f'/proc/{start.pid}/cmdline').read_bytes())
            self.assertEqual(status, self.release().status)
            start.communicate(b'\n', timeout=30)
        self.assertEqual(Status.LAPSED, self.release().status)

    def test_sigterm_to_the_supervisor_undoes_at_once(self) -> None:
        self.open_window()
        self.kill(self.holders()[:1], signal.SIGTERM)
        self.wait_until_undone()
        self.assertEqual(Status.LAPSED, self.release().status)

    def test_the_end_of_the_lease_undoes(self) -> None:
        self.open_window(lease=1)
        self.wait_until_undone()
        self.assertEqual(Status.LAPSED, self.release().status)
        self.assertFalse(base.RECORD.exists())

    def test_another_window_is_refused_and_cannot_release(self) -> None:
        self.open_window()
        ours, self.token = self.token, 'feedbeef'
        self.assertEqual(Status.BUSY, self.start(self.volume_disk).status)
        self.assertEqual(Status.LAPSED, self.release().status)
        self.assertIn('sync', self.options())
        self.token = ours
        self.assertEqual(['undone'], self.release().undone)

    def test_a_journal_that_cannot_be_read_refuses_a_start(self) -> None:
        base.RECORD.mkdir(0o700)
        (base.RECORD / 'journal').write_text('[1,')
        self.assertEqual(Status.UNABLE, self.start(self.volume_disk).status)
        self.assertNotIn('sync', self.options())
        (base.RECORD / 'journal').unlink()

    def test_every_process_has_its_memory_locked(self) -> None:
        self.open_window()
        for process in self.holders():
            status = pathlib.Path(f'/proc/{process}/status').read_text()
            locked = int(status.split('VmLck:')[1].split()[0])
            self.assertGreater(locked, 4096)
        self.release()
