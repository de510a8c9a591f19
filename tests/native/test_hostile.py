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

"""What a user of the guest can do to the program (G1, G4, G15)."""

import os
import pathlib
import subprocess

import ddt

from cinder_wt_backup.guest.guardian.inside import protocol
from tests.native import fuse
from tests.support.loop import base

Status = protocol.Status
MANY = 15000
# Seconds: what hangs does so until the test's end.
FOR_EVER = 30
NOBODY = ('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups')


@ddt.ddt
class HostileTest(base.TestCase):

    @ddt.data(b'touch pwned|', b'a\vb\fc\rd', b'a b\tc\nd\\040',
              b'7:1 - ext4 x', b'\xff\xfe', b"a'$(touch pwned)`", b' ',
              b'\xe3\x80\x80',
              bytes(byte for byte in range(1, 256) if byte != ord('/')))
    def test_a_mount_point_of_any_characters_is_flagged(
            self, name: bytes) -> None:
        disk = self.disk('ext4')
        base.run('umount', str(self.point))
        point = os.fsencode(self.scratch) + b'/' + name
        os.mkdir(point)
        base.run('mount', disk.device, os.fsdecode(point))
        self.addCleanup(base.run, 'umount', os.fsdecode(point))
        started = self.start(disk)
        self.assertEqual(['flagged'], started.states, started.report)
        self.assertEqual(point, os.fsencode(
            started.report['filesystems'][0]['point']))
        self.assertEqual(['undone'], self.release().undone)
        self.assertFalse(list(pathlib.Path('/').glob('pwned')))

    def test_a_fifo_that_is_bound_from_the_volume_is_not_waited_for(
            self) -> None:
        disk = self.disk('ext4')
        os.mkfifo(self.point / 'fifo')
        bound = self.scratch / 'bound'
        bound.touch()
        base.run('mount', '--bind', str(self.point / 'fifo'), str(bound))
        self.addCleanup(base.run, 'umount', str(bound), check=False)
        self.assertEqual(['flagged'], self.start(disk).states)
        base.run('umount', str(self.point))     # the FIFO alone is left
        self.assertEqual(['undone'], self.release().undone)

    def test_a_path_that_hangs_does_not_hang_the_start(self) -> None:
        disk = self.disk('ext4')
        base.run('umount', str(self.point))
        hanging = fuse.Hanging(self.scratch / 'fuse')
        self.addCleanup(hanging.end)
        point = hanging.point / 'below'
        base.run('mount', '-i', disk.device, str(point))
        hanging.hang()
        started = self.start(disk, limit=6)
        self.assertEqual((Status.DONE, ['unknown']),
                         (started.status, started.states))
        self.assertLess(started.seconds, FOR_EVER)
        # The worker has not come back: it might still, so nothing is known.
        self.assertEqual(Status.STUCK, self.command(
            'release', limit=8).status)
        hanging.end()
        self.wait_for(lambda: not self.holders())
        self.assertEqual(Status.LAPSED, self.release().status)

    def test_a_path_that_hangs_does_not_hang_the_release(self) -> None:
        disk = self.disk('ext4')
        base.run('umount', str(self.point))
        hanging = fuse.Hanging(self.scratch / 'fuse')
        self.addCleanup(hanging.end)
        base.run('mount', '-i', disk.device, str(hanging.point / 'below'))
        second = self.scratch / 'second'
        self.mount(disk.device, second)
        self.assertEqual(['flagged'], self.start(disk).states)
        hanging.hang()
        ended = self.command('release', limit=8)
        self.assertLess(ended.seconds, FOR_EVER)
        self.assertIn(ended.undone, (['undone'], ['unknown']))
        hanging.end()
        self.wait_for(lambda: not self.holders())
        self.assertNotIn('sync', self.options(second))

    def test_who_is_not_root_reaches_nothing_of_ours(self) -> None:
        self.assertEqual(['flagged'], self.start(self.disk('ext4')).states)
        for command in (f'ls {base.RECORD}', f'flock {base.RECORD}/claim true',
                        f'cat {base.RECORD}/journal',
                        f'rm -r {base.RECORD}', f'mv {base.RECORD} /run/a',
                        *(f'kill -0 {holder}' for holder in self.holders())):
            self.assertNotEqual(0, _status_of(command, *NOBODY), command)
        # Root may: it is not the commands that are wrong.
        for command in (f'cat {base.RECORD}/journal',
                        f'kill -0 {self.holders()[0]}'):
            self.assertEqual(0, _status_of(command), command)
        self.assertEqual(['undone'], self.release().undone)

    def test_many_mounts_elsewhere_do_not_delay_a_window(self) -> None:
        disk = self.disk('ext4')
        script = ('mount -t tmpfs none /mnt; mkdir /mnt/a; python3 -c "'
                  'import ctypes; c = ctypes.CDLL(None)\n'
                  f'for _ in range({MANY}): c.mount(b\'/mnt/a\', b\'/mnt/a\','
                  ' None, 4096, None)"; echo; exec sleep 60')
        user = subprocess.Popen(['unshare', '-m', 'sh', '-c', script],
                                stdout=subprocess.PIPE)
        self.addCleanup(user.wait)
        self.addCleanup(user.kill)
        assert user.stdout is not None
        user.stdout.readline()
        self.addCleanup(user.stdout.close)
        # Each within its limit: else it would not say what became of it.
        started = self.start(disk, limit=6)
        self.assertEqual(['flagged'], started.states, started.report)
        ended = self.command('release', limit=4)
        self.assertEqual((Status.DONE, ['undone']),
                         (ended.status, ended.undone))


def _status_of(command: str, *through: str) -> int:
    """Return how a shell's command ends."""
    return subprocess.run([*through, 'sh', '-c', command], check=False,
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode
