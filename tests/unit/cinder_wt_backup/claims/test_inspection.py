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

import io
from typing import Any

import ddt
import fixtures

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.claims import inspection
from cinder_wt_backup.claims import metadata
from tests.unit import base
from tests.unit.fixtures import disks

Level = claims.Level


def frozen(**filesystems: int) -> claims.Claim:
    return claims.Claim(
        Level.FILESYSTEM, method='write_through',
        beneath=Level.WRITE_THROUGH,
        filesystems=filesystems).with_freeze(48)


def two_ext(*dirty: bool) -> disks.Disk:
    return disks.partitioned(*(
        (2048 + 10240 * number, disks.ext(dirty=each))
        for number, each in enumerate(dirty)))


@ddt.ddt
class CompareTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger())

    def seen(self, claim: claims.Claim, disk: disks.Disk
             ) -> claims.Claim:
        return inspection.compare(claim, disk.file())

    @ddt.data((disks.ext(), 'clean'), (disks.ext(dirty=True), 'journal'),
              (disks.Disk(), 'unknown'), (two_ext(False, True), 'journal'))
    @ddt.unpack
    def test_what_was_seen_is_told(self, disk: disks.Disk,
                                   state: str) -> None:
        claim = claims.Claim(Level.WRITE_THROUGH, method='write_through',
                             filesystems={'ext4': 1})
        seen = self.seen(claim, disk)
        self.assertEqual((Level.WRITE_THROUGH, state),
                         (seen.level, seen.verified))
        self.assertEqual(state, metadata.of_claim(seen)['wt:verified'])

    @ddt.data((frozen(ext4=1), disks.ext()),
              (frozen(btrfs=1), disks.btrfs()),
              (frozen(ext4=1, ext2=1), two_ext(False, False)),
              # An unmounted one may have needed it for long.
              (frozen(ext4=1), two_ext(False, True)),
              # Without a journal it stays marked until it is unmounted.
              (frozen(ext2=1), disks.ext(journal=False, valid=False)),
              # A frozen xfs always does.
              (frozen(xfs=1), disks.xfs()),
              # One that is not frozen is not claimed to be clean.
              (claims.Claim(Level.FILESYSTEM), disks.ext(dirty=True)))
    @ddt.unpack
    def test_it_bears_the_claim_out(self, claim: claims.Claim,
                                    disk: disks.Disk) -> None:
        disks.record(disk, 0, flags=0) if 'xfs' in claim.filesystems else None
        self.assertEqual(Level.FILESYSTEM, self.seen(claim, disk).level)
        self.assertNotIn('contradicted', self.log.output)

    @ddt.data((frozen(ext4=1), disks.ext(dirty=True)),
              (frozen(ext3=1), two_ext(True)),
              (frozen(ext4=2), two_ext(False, True)),
              (frozen(btrfs=1), disks.btrfs(log=9)))
    @ddt.unpack
    def test_it_contradicts_the_claim(self, claim: claims.Claim,
                                      disk: disks.Disk) -> None:
        seen = self.seen(claim, disk)
        self.assertEqual(Level.WRITE_THROUGH, seen.level)
        self.assertIn('does not look frozen', seen.reason)
        self.assertIn('is contradicted', self.log.output)

    def test_a_freeze_alone_that_is_contradicted_has_flushed(self) -> None:
        claim = claims.Claim(Level.FILESYSTEM, method='freeze',
                             filesystems={'ext4': 1}, freeze_ms=9)
        self.assertEqual(Level.FLUSHED,
                         self.seen(claim, disks.ext(dirty=True)).level)

    def test_what_is_hidden_contradicts_nothing(self) -> None:
        hidden = disks.Disk(512)
        hidden.data[:6] = b'LUKS\xba\xbe'
        seen = self.seen(frozen(ext4=1), disks.partitioned(
            (2048, hidden), (4096, disks.ext(dirty=True))))
        self.assertEqual((Level.FILESYSTEM, 'journal'),
                         (seen.level, seen.verified))

    def test_looking_fails(self) -> None:
        class Broken(io.BytesIO):
            def read(self, *args: Any) -> bytes:
                raise OSError('broken')
        seen = inspection.compare(frozen(ext4=1), Broken())
        self.assertEqual((Level.FILESYSTEM, 'unknown'),
                         (seen.level, seen.verified))
        self.assertIn('cannot be looked at', self.log.output)
