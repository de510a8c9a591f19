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

from __future__ import annotations

import io
from typing import Any

import ddt
import hypothesis
from hypothesis import strategies

from cinder_wt_backup import ondisk
from cinder_wt_backup.ondisk import reader
from tests.unit import base
from tests.unit.fixtures import disks

State = ondisk.State
CLEAN, JOURNAL = State.CLEAN, State.JOURNAL


def states(disk: disks.Disk) -> list[tuple[str, int, State]]:
    return [(each.kind, each.start, each.state)
            for each in ondisk.look(disk.file())]


def marked(offset: int, magic: bytes) -> disks.Disk:
    disk = disks.ext(dirty=True)
    disk.data[offset:offset + len(magic)] = magic
    return disk


@ddt.ddt
class FileSystemTest(base.TestCase):

    @ddt.data((disks.ext(), CLEAN), (disks.ext(dirty=True), JOURNAL),
              # An error that was noted is no reason for a replay.
              (disks.ext(valid=False), CLEAN))
    @ddt.unpack
    def test_ext(self, disk: disks.Disk, state: State) -> None:
        self.assertEqual([('ext', 0, state)], states(disk))

    @ddt.data((disks.ext(journal=False), CLEAN),
              (disks.ext(journal=False, valid=False), JOURNAL))
    @ddt.unpack
    def test_ext_without_a_journal(self, disk: disks.Disk, state: State
                                   ) -> None:
        self.assertEqual([('ext2', 0, state)], states(disk))

    @ddt.data((disks.btrfs(), CLEAN), (disks.btrfs(log=7), JOURNAL))
    @ddt.unpack
    def test_btrfs(self, disk: disks.Disk, state: State) -> None:
        self.assertEqual([('btrfs', 0, state)], states(disk))

    @ddt.data(('LUKS', 0, b'LUKS\xba\xbe'), ('LVM', 512, b'LABELONE'),
              ('LVM', 0, b'LABELONE'), ('RAID', 4096, b'\xfc\x4e\x2b\xa9'))
    @ddt.unpack
    def test_what_hides_file_systems(self, kind: str, offset: int,
                                     magic: bytes) -> None:
        self.assertEqual([(kind, 0, State.NOT_VISIBLE)],
                         states(marked(offset, magic)))

    @ddt.data(disks.Disk(), disks.Disk(0), disks.Disk(100))
    def test_nothing_that_is_known(self, disk: disks.Disk) -> None:
        self.assertEqual([], states(disk))


class XfsTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.disk = disks.xfs()

    def assert_is(self, state: State) -> None:
        self.assertEqual([('xfs', 0, state)], states(self.disk))

    def test_a_log_that_was_never_written(self) -> None:
        self.assert_is(CLEAN)

    def test_unmounted(self) -> None:
        end = disks.record(self.disk, 0, data=20, operations=9, flags=0)
        disks.record(self.disk, end)
        self.assert_is(CLEAN)

    def test_mounted(self) -> None:
        end = disks.record(self.disk, 0)
        disks.record(self.disk, end, data=20, operations=9, flags=0)
        self.assert_is(JOURNAL)

    def test_the_last_record_is_no_unmount(self) -> None:
        disks.record(self.disk, 0, flags=0)
        self.assert_is(JOURNAL)

    def test_the_unmount_was_not_the_last(self) -> None:
        end = disks.record(self.disk, 0)
        self.disk.put(disks.LOG_START + end * 512, '>I', 1)
        self.assert_is(JOURNAL)

    def test_padded_and_with_many_headers(self) -> None:
        disks.record(self.disk, 0, data=64, headers=8)
        self.assert_is(CLEAN)

    def test_in_a_later_lap(self) -> None:
        for lap in (1, 2):
            for block in range(0, disks.LOG_BLOCKS, 32):
                disks.record(self.disk, block, lap, 31, 9, 0)
        disks.record(self.disk, 500 & ~31, 3)
        self.assert_is(JOURNAL)
        for block in range(0, 480, 32):
            disks.record(self.disk, block, 3, 31, 9, 0)
        disks.record(self.disk, 480, 3)
        self.assert_is(CLEAN)

    def test_up_to_the_end_of_the_ring(self) -> None:
        for block in range(0, disks.LOG_BLOCKS - 2, 2):
            disks.record(self.disk, block, 1, 1, 9, 0)
        disks.record(self.disk, disks.LOG_BLOCKS - 2)
        self.assert_is(CLEAN)

    def test_round_the_end_of_the_ring(self) -> None:
        for block in range(0, disks.LOG_BLOCKS - 2, 2):
            disks.record(self.disk, block, 1, 1, 9, 0)
        disks.record(self.disk, disks.LOG_BLOCKS - 2, data=8)
        self.assert_is(CLEAN)

    def test_on_another_device(self) -> None:
        self.disk.put(48, '>Q', 0)
        self.assert_is(State.UNKNOWN)


@ddt.ddt
class PartitionTest(base.TestCase):

    def test_mbr(self) -> None:
        self.assertEqual(
            [('ext', 1 << 20, JOURNAL), ('xfs', 6 << 20, CLEAN)],
            states(disks.partitioned((2048, disks.ext(dirty=True)),
                                     (12288, disks.xfs()))))

    def test_logical_partitions(self) -> None:
        disk = disks.partitioned((2048, disks.Disk()), kind=0x05)
        disks.place(disk, 2048 * 512, disks.partitioned(
            (2048, disks.ext()), (8192, disks.Disk(512))))
        disk.put(2048 * 512 + 446 + 16 + 4, 'B', 0x05)
        disks.place(disk, (2048 + 8192) * 512, disks.partitioned(
            (2048, disks.btrfs())))
        self.assertEqual([('ext', 2 << 20, CLEAN), ('btrfs', 6 << 20, CLEAN)],
                         states(disk))

    def test_a_chain_without_an_end(self) -> None:
        disk = disks.partitioned((2048, disks.Disk(512)), kind=0x05)
        disk.put(2048 * 512 + 510, 'BB', 0x55, 0xaa)
        disk.put(2048 * 512 + 446 + 16 + 4, 'B', 0x05)
        self.assertEqual([], states(disk))

    @ddt.data(512, 4096)
    def test_gpt(self, sector: int) -> None:
        start = (1 << 20) // sector
        self.assertEqual(
            [('ext', 1 << 20, CLEAN), ('ext', 6 << 20, JOURNAL)],
            states(disks.gpt((start, disks.ext()),
                             (6 * start, disks.ext(dirty=True)),
                             sector=sector)))

    @ddt.data(0, 1, 1 << 31)
    def test_gpt_with_entries_that_cannot_be(self, size: int) -> None:
        disk = disks.gpt((2048, disks.ext()))
        disk.put(512 + 84, '<I', size)
        self.assertEqual([], states(disk))

    def test_a_partition_beyond_any_disk(self) -> None:
        disk = disks.gpt((2048, disks.Disk(0)), (4096, disks.ext()))
        disk.put(1024 + 32, '<Q', (1 << 64) - 1)
        self.assertEqual([('ext', 2 << 20, CLEAN)], states(disk))

    def test_a_file_system_on_the_whole_disk_comes_first(self) -> None:
        disk = disks.partitioned((2048, disks.ext(dirty=True)))
        disk.data[1024:2048] = disks.ext().data[1024:2048]
        self.assertEqual([('ext', 0, CLEAN)], states(disk))


@ddt.ddt
class SummaryTest(base.TestCase):

    @ddt.data(([], State.UNKNOWN), ([State.UNKNOWN, CLEAN], CLEAN),
              ([CLEAN, State.NOT_VISIBLE], State.NOT_VISIBLE),
              ([State.NOT_VISIBLE, JOURNAL, CLEAN], JOURNAL))
    @ddt.unpack
    def test_the_worst_counts(self, found: list[State], state: State) -> None:
        self.assertIs(state, ondisk.summary(
            [ondisk.Found('ext', 0, each) for each in found]))


class ReadingTest(base.TestCase):

    def test_the_position_stays(self) -> None:
        file = disks.partitioned((2048, disks.xfs())).file()
        file.seek(77)
        ondisk.look(file)
        self.assertEqual(77, file.tell())

    def test_it_stays_when_reading_fails(self) -> None:
        class Broken(io.BytesIO):
            def read(self, *args: Any) -> bytes:
                raise OSError('broken')
        file = Broken(b'x')
        self.assertRaises(OSError, ondisk.look, file)
        self.assertEqual(0, file.tell())

    @hypothesis.given(
        which=strategies.sampled_from(
            [disks.ext(), disks.xfs(), disks.btrfs(),
             disks.partitioned((64, disks.xfs()), kind=5),
             disks.gpt((64, disks.xfs()))]),
        spoilt=strategies.lists(strategies.tuples(
            strategies.integers(0, 5000), strategies.binary(max_size=9))))
    def test_whatever_a_guest_wrote(
            self, which: disks.Disk, spoilt: list[tuple[int, bytes]]) -> None:
        read = []

        class Counted(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                read.append(size or 0)
                return super().read(size)
        data = bytearray(which.data)
        for offset, piece in spoilt:
            data[offset:offset + len(piece)] = piece
        try:
            ondisk.look(Counted(data))
        except OSError as error:
            self.assertIn('takes more than', str(error))
        self.assertLessEqual(sum(read), reader.LIMIT)
