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

"""What cannot be undone for sure is not begun (G3, G19)."""

import os
import pathlib
import signal

import ddt

from cinder_wt_backup.guest.guardian.inside import protocol
from tests.support.loop import base

Status = protocol.Status


@ddt.ddt
class RefusalTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.volume_disk = self.disk('ext4')

    def _refused(self, status: Status, **fields: object) -> None:
        before = self.options()
        ended = self.start(self.volume_disk, **fields)
        self.assertEqual((status, status), (ended.status,
                                            ended.report['status']))
        self.assertIn(status, protocol.UNCHANGED)
        self.assertTrue(ended.report['reason'])
        self.assertEqual(before, self.options())
        self.assertEqual([], self.holders())

    def test_a_full_run_refuses_a_start(self) -> None:
        self.mount_tmpfs('/run', 'size=64k,mode=755')
        self._refused(Status.UNABLE)

    def test_run_without_room_for_a_file_refuses_a_start(self) -> None:
        self.mount_tmpfs('/run', 'nr_inodes=4,mode=755')
        self._refused(Status.UNABLE)

    def test_a_window_is_undone_when_run_has_filled(self) -> None:
        self.mount_tmpfs('/run', 'size=2m,mode=755')
        self.assertEqual(['flagged'], self.start(self.volume_disk).states)
        base.run('dd', 'if=/dev/zero', 'of=/run/full', 'bs=64k', check=False)
        self.assertEqual(['undone'], self.release().undone)
        self.assertNotIn('sync', self.options())

    def test_a_release_undoes_with_run_full_and_all_killed(self) -> None:
        self.mount_tmpfs('/run', 'size=2m,mode=755')
        self.start(self.volume_disk)
        base.run('dd', 'if=/dev/zero', 'of=/run/full', 'bs=64k', check=False)
        holders = self.holders()
        self.kill(holders[1:], signal.SIGSTOP)
        self.kill(holders)
        self.wait_for(lambda: not self.holders())
        self.assertEqual(Status.LAPSED, self.command('release').status)
        self.assertNotIn('sync', self.options())

    def test_run_on_a_disk_refuses_a_start(self) -> None:
        disk = base.Disk(self, 24)
        base.run('mkfs.ext4', '-q', disk.device)
        self.mount(disk.device, pathlib.Path('/run'))
        self._refused(Status.UNABLE)

    def test_a_folder_that_is_a_link_refuses_a_start(self) -> None:
        os.symlink('/tmp', base.RECORD)
        self._refused(Status.UNABLE)
        base.RECORD.unlink()

    def test_a_folder_of_somebody_else_refuses_a_start(self) -> None:
        base.RECORD.mkdir()
        os.chown(base.RECORD, 1000, 1000)
        self._refused(Status.UNABLE)
        os.chown(base.RECORD, 0, 0)
        base.RECORD.chmod(0o770)
        self._refused(Status.UNABLE)

    def test_too_little_memory_refuses_a_start(self) -> None:
        little = self.scratch / 'meminfo'
        little.write_text('MemAvailable: 20000 kB\nDirty: 0 kB\n')
        base.run('mount', '--bind', str(little), '/proc/meminfo')
        self.addCleanup(base.run, 'umount', '/proc/meminfo')
        self._refused(Status.UNABLE)

    def test_a_disk_that_is_not_there_refuses_a_start(self) -> None:
        self._refused(Status.NO_DISK, volume='0' * 36)

    def test_nothing_is_changed_when_systemd_refuses(self) -> None:
        pathlib.Path('/run/systemd/system').mkdir(parents=True)
        ended = self.start(self.volume_disk)
        self.assertIn(ended.status, (Status.NO_LEASE, Status.NOT_STARTED,
                                     127))
        self.assertNotIn('sync', self.options())

    @ddt.data({'lease': '60'}, {'lease': -1}, {'token': '../..'},
              {'volume': 'x' * 36}, {'more': 1}, {'version': 0},
              {'drain': True}, {'token': 'feedbeef\n'})
    def test_a_request_of_another_kind_is_refused(self, fields: dict) -> None:
        self._refused(Status.REFUSED, **fields)

    def test_modules_in_the_environment_or_folder_are_not_read(self) -> None:
        for name in ('ctypes.py', 'json.py', 'sitecustomize.py'):
            (self.scratch / name).write_text('open("/run/pwned", "w")')
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.scratch)
        os.environ.update(PYTHONPATH=str(self.scratch), PYTHONHOME='/none')
        self.addCleanup(os.environ.pop, 'PYTHONPATH')
        self.addCleanup(os.environ.pop, 'PYTHONHOME')
        self.assertEqual(['flagged'], self.start(self.volume_disk).states)
        self.release()
        self.assertFalse(os.path.exists('/run/pwned'))
