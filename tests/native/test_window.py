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

"""A window from start to release, with each type that is flagged."""

import pathlib

import ddt

from cinder_wt_backup.guest.guardian.inside import protocol
from tests.support.loop import base

Status = protocol.Status


@ddt.ddt
class WindowTest(base.TestCase):

    @ddt.data('ext2', 'ext3', 'ext4', 'xfs', 'btrfs')
    def test_a_window_leaves_everything_as_it_was(self, kind: str) -> None:
        disk = self.disk(kind)
        before = self.options()
        start = self.start(disk)
        self.assertEqual((Status.DONE, ['flagged'], []),
                         (start.status, start.states, start.remarks),
                         start.report)
        self.assertIn('sync', self.options())
        release = self.release()
        self.assertEqual((Status.DONE, ['undone'], []),
                         (release.status, release.undone,
                          release.remarks), release.report)
        self.assertEqual(before, self.options())
        self.assertEqual(Status.LAPSED, self.release().status)

    def test_all_memory_is_locked_and_workers_share_theirs(self) -> None:
        """Forty of them once ended a small guest, for want of memory."""
        disk = self.disk('ext4')
        inner = self.scratch / 'inner'
        with open(self.point / 'image', 'wb') as file:
            file.truncate(16 << 20)
        base.run('mkfs.ext4', '-q', str(self.point / 'image'))
        self.mount(str(self.point / 'image'), inner)
        self.assertEqual(2, len(self.start(disk).states))
        supervisor, *workers = (_memory(each) for each in self.holders())
        for memory in (supervisor, *workers):
            self.assertGreater(memory['Locked'], 0.95 * memory['Pss'])
        for worker in workers:
            self.assertLess(worker['Private_Dirty'], 4 << 10)
        self.assertEqual(2 * ['undone'], self.release().undone)
        base.run('umount', str(inner))


def _memory(process: int) -> dict[str, int]:
    """Return what a process has, in KiB."""
    rows = pathlib.Path(f'/proc/{process}/smaps_rollup').read_text()
    return {line.split(':')[0]: int(line.split()[1])
            for line in rows.splitlines()[1:]}
