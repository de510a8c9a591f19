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

import os
import pathlib
import struct

import fixtures

from cinder_wt_backup.guest.guardian.inside import blocks
from cinder_wt_backup.guest.guardian.inside import drain
from cinder_wt_backup.guest.guardian.inside import journal
from cinder_wt_backup.guest.guardian.inside import look
from cinder_wt_backup.guest.guardian.inside import syscalls
from cinder_wt_backup.guest.guardian.inside import users
from tests.support import bounded

VOLUME = 'ab94d455-bcb6-4716-8c6a-948fdff8fc76'
MOUNT = ('30 1 {device} / /mnt rw - {type} /dev/vdb1 rw\n')


class TreeTestCase(bounded.TestCase):
    """A test with a saved ``/sys``, ``/proc`` and ``/dev``."""

    def setUp(self) -> None:
        super().setUp()
        self.root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.sys, self.proc = str(self.root / 'sys'), str(self.root / 'proc')
        self.dev = str(self.root / 'dev')
        self.write('proc/self/mountinfo', '')
        (self.root / 'proc/self/ns').mkdir()
        os.symlink('mnt:[1]', self.root / 'proc/self/ns/mnt')

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def device(self, name: str, number: str, **files: str) -> None:
        """Make a block device."""
        folder = f'sys/devices/pci0000:00/0000:00:05.0/{name}'
        self.write(f'{folder}/dev', number + '\n')
        for path, text in files.items():
            self.write(f'{folder}/{path.replace("__", "/")}', text)
        for place in ('block', 'class/block'):
            link = self.root / 'sys' / place / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(self.root / folder)

    def seen(self, disk: str = 'vdb') -> look.Seen:
        """Return what a look saw in the end."""
        told: list[look.Seen] = []
        look.Look(0, self.proc, self.sys, self.dev).at(disk, told.append)
        return told[-1]


class DiskTest(TreeTestCase):

    def test_virtio_shows_the_beginning_of_an_id(self) -> None:
        self.device('vda', '254:0', serial='ab94d455-bcb6-4716-8')
        self.device('vdb', '254:16', serial='0' * 20)
        self.assertEqual('vda', blocks.find_disk(VOLUME, '', self.sys))

    def test_scsi_shows_it_in_a_page(self) -> None:
        self.device('sda', '8:0', device__vpd_pg80='\0\x80\0$' + VOLUME)
        self.assertEqual('sda', blocks.find_disk(VOLUME, '', self.sys))

    def test_two_of_the_same_are_told_by_their_address(self) -> None:
        self.device('vda', '254:0', serial=VOLUME[:20])
        self.device('vdb', '254:16', serial=VOLUME[:20])
        self.assertEqual('', blocks.find_disk(VOLUME, '', self.sys))
        self.assertEqual('', blocks.find_disk(VOLUME, '0000:00:09.0',
                                              self.sys))

    def test_a_device_without_serial_is_nobodys(self) -> None:
        self.device('vda', '254:0')
        self.assertEqual('', blocks.find_disk(VOLUME, '', self.sys))


class LookTest(TreeTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.device('vdb', '254:16', serial=VOLUME[:20])

    def test_partitions_and_what_is_on_them(self) -> None:
        self.write('sys/devices/pci0000:00/0000:00:05.0/vdb/vdb1/partition',
                   '1')
        self.device('vdb1', '254:17', holders__dm__0='')
        self.write('proc/self/mountinfo',
                   MOUNT.format(device='254:17', type='ext4'))
        self.device('dm', '253:0', slaves__vdb1='', slaves__vdc='',
                    dm__name='cached')
        seen = self.seen()
        self.assertEqual(['254:17'], [each.device
                                      for each in seen.filesystems])
        self.assertLessEqual({'held', 'spans', 'cache'}, set(seen.remarks))

    def test_the_targets_of_device_mapper(self) -> None:
        def answered(control: int, what: int, answer: bytearray) -> None:
            self.assertEqual((4, 0, 0, 1 << 14, 312), struct.unpack_from(
                '=5I', answer))
            self.assertEqual(253 << 8 | 1,
                             struct.unpack_from('=Q', answer, 40)[0])
            struct.pack_into('=2I', answer, 16, 312, 2)
            struct.pack_into('=QQiI16s', answer, 312, 0, 8, 0, 48, b'linear')
            struct.pack_into('=QQiI16s', answer, 360, 8, 8, 0, 0, b'cache')
        self.useFixture(fixtures.MockPatch('fcntl.ioctl', answered))
        self.assertEqual({b'linear', b'cache'},
                         syscalls.mapper_targets(0, 253, 1))

    def test_a_container_is_remarked(self) -> None:
        self.write('proc/self/ns/pid', '')
        self.assertIn('container', self.seen().remarks)

    def test_a_process_that_hides_its_mounts_is_remarked(self) -> None:
        (self.root / 'proc/77').mkdir()
        (self.root / 'dev').mkdir()
        (self.root / 'dev/vdb').write_text('')
        self.assertNotIn('unseen', self._elsewhere())       # it has ended
        self.useFixture(fixtures.MockPatchObject(
            look.Look, '_namespace', lambda look, process: (
                _refused() if process == '77' else 'mnt:[1]')))
        self.assertIn('unseen', self._elsewhere())

    def _elsewhere(self) -> list[str]:
        told: list[look.Seen] = []
        look.Look(1e12, self.proc, self.sys, self.dev).at('vdb', told.append)
        return told[-1].remarks

    def test_swap_is_remarked(self) -> None:
        self.write('proc/swaps', 'Filename\n/dev/vdb partition 1 0 -2\n')
        self.assertIn('swap', self.seen().remarks)

    def test_an_export_is_remarked(self) -> None:
        self.write('sys/kernel/config/nvmet/subsystems/a/namespaces/1/'
                   'device_path', '/dev/vdb')
        self.assertTrue(users.is_exporting(self.sys))
        self.assertIn('kernel', self.seen().remarks)

    def test_an_export_of_the_scsi_target_is_seen(self) -> None:
        self.write('sys/kernel/config/target/core/iblock_0/a/udev_path', 'x')
        self.assertTrue(users.is_exporting(self.sys))

    def test_nothing_is_exported(self) -> None:
        self.assertFalse(users.is_exporting(self.sys))


class DrainTest(TreeTestCase):

    def setUp(self) -> None:
        super().setUp()
        for name, value in (('dirty_background_bytes', 0),
                            ('dirty_background_ratio', 10),
                            ('dirty_expire_centisecs', 3000),
                            ('dirty_writeback_centisecs', 500)):
            self.write(f'proc/sys/vm/{name}', f'{value}\n')
        self.saved = drain.thresholds(self.proc)

    def _value(self, name: str) -> int:
        return int((self.root / 'proc/sys/vm' / name).read_text().strip())

    def test_the_ratio_is_put_back_where_it_was_set(self) -> None:
        drain.lower(self.saved, self.proc)
        self.assertEqual(1 << 20, self._value('dirty_background_bytes'))
        self.write('proc/sys/vm/dirty_background_ratio', '0\n')
        drain.restore(self.saved, self.proc)
        self.assertEqual(10, self._value('dirty_background_ratio'))
        self.assertEqual(500, self._value('dirty_writeback_centisecs'))

    def test_what_an_admin_changed_stays(self) -> None:
        drain.lower(self.saved, self.proc)
        self.write('proc/sys/vm/dirty_expire_centisecs', '77\n')
        drain.restore(self.saved, self.proc)
        self.assertEqual(77, self._value('dirty_expire_centisecs'))

    def test_what_cannot_be_put_back_is_not_done(self) -> None:
        drain.lower(self.saved, self.proc)
        (self.root / 'proc/sys/vm/dirty_expire_centisecs').unlink()
        self.assertFalse(drain.restore(self.saved, self.proc))

    def test_what_is_dirty_and_available(self) -> None:
        self.write('proc/meminfo', 'MemTotal: 9 kB\nDirty: 4 kB\n'
                   'Writeback:   3 kB\nWritebackTmp: 5 kB\n'
                   'MemAvailable:      8 kB\n')
        self.assertEqual(7, drain.dirty_kb(self.proc))
        self.assertEqual(8, drain.available_kb(self.proc))


class JournalTest(TreeTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(
            journal, '_in_memory', lambda descriptor: True))
        if os.getuid():
            self.skipTest('not root')
        self.folder = journal.Folder(str(self.root))
        self.journal = journal.Journal('feed', [journal.Record(
            '254:17', 'xfs', '/sys/fs/xfs/vdb1#7', 'self', ['rw', 'inode32'],
            ['inode32'], True, False)], [journal.Threshold('a', 1, 2, 3)])

    def test_it_is_read_as_it_was_written(self) -> None:
        self.assertIsNone(self.folder.read())
        self.folder.write(self.journal)
        self.assertEqual(self.journal, self.folder.read())
        self.folder.forget()
        self.assertIsNone(self.folder.read())

    def test_one_that_is_torn_is_no_journal_that_is_empty(self) -> None:
        self.folder.write(self.journal)
        path = self.root / journal.FOLDER / journal.JOURNAL
        text = path.read_text()
        for torn in ('', text[:40], text.replace('[1,', '[2,'), '[1,[1,2]]',
                     '[1, ["feed", [[1]], []]]'):
            path.write_text(torn)
            self.assertRaises(journal.UnsafeError, self.folder.read)

    def test_without_room_the_one_before_stays(self) -> None:
        self.folder.write(self.journal)
        self.useFixture(fixtures.MockPatchObject(
            os, 'posix_fallocate', _refused))
        self.assertRaises(OSError, self.folder.write,
                          self.journal._replace(token='cafe'))
        self.assertEqual(self.journal, self.folder.read())

    def test_only_one_holds_the_lock(self) -> None:
        lock = self.folder.try_lock()
        assert lock is not None
        self.assertIsNone(self.folder.try_lock())
        copy = os.dup(lock)
        os.close(lock)
        self.assertIsNone(self.folder.try_lock())
        os.close(copy)
        self.assertIsNotNone(self.folder.try_lock())


def _refused(*arguments: object) -> str:
    raise PermissionError(13, 'refused')
