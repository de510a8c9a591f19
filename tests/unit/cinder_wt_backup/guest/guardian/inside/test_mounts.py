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

import ddt
import hypothesis
from hypothesis import strategies

from cinder_wt_backup.guest.guardian.inside import mounts
from tests.support import bounded

LINE = (b'36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root '
        b'rw,errors=continue')
FIELD = strategies.binary(max_size=12)


@ddt.ddt
class ParseTest(bounded.TestCase):

    def test_a_line_is_read(self) -> None:
        self.assertEqual(mounts.Mount(
            36, 35, '98:0', b'/mnt1', b'/mnt/a b', 'rw,noatime', 'ext3',
            b'/dev/root', 'rw,errors=continue'), mounts.parse(LINE))

    @ddt.data(b'', b'36 35 98:0 / /', LINE.replace(b' - ', b' '),
              LINE.replace(b'98:0', b'98'), LINE.replace(b'36', b'-1'),
              LINE.replace(b'98:0', b'98:0\n'),
              LINE.replace(b'36', b'\xd9\xa3'),
              LINE.replace(b'/mnt/', b'mnt/'))
    def test_what_is_no_line(self, line: bytes) -> None:
        self.assertIsNone(mounts.parse(line))

    @ddt.data(b'/a\\040b', b'/a\\011', b'/\\134040', b'/\x0b\x0c\r\x85')
    def test_escapes(self, point: bytes) -> None:
        mount = mounts.parse(LINE.replace(b'/mnt/a\\040b', point))
        assert mount is not None
        self.assertEqual({b'/a\\040b': b'/a b', b'/a\\011': b'/a\t',
                          b'/\\134040': b'/\\040'}.get(point, point),
                         mount.point)

    @hypothesis.given(strategies.lists(FIELD, max_size=14))
    @hypothesis.settings(deadline=None, database=None)
    def test_any_fields(self, fields: list[bytes]) -> None:
        line = b' '.join(fields)
        mount = mounts.parse(line)
        if mount is not None:
            self.assertTrue(mount.point.startswith(b'/'))


class ReadTest(bounded.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.path = os.path.join(
            self.create_tempfiles([('mountinfo', LINE.decode() + '\n')])[0])

    def _shows(self, *texts: bytes) -> None:
        """Show another text at each reading."""
        left = list(texts)

        def lines(path: str, end: float) -> list[bytes]:
            return (left.pop(0) if len(left) > 1 else left[0]).splitlines()
        self.useFixture(_patch(mounts, '_lines', lines))

    def test_two_readings_must_agree(self) -> None:
        self._shows(b'', LINE, b'', LINE)
        self.assertEqual(1, len(mounts.read('', lambda mount: True)))

    def test_readings_that_never_agree(self) -> None:
        self._shows(*[b'', LINE] * 20)
        self.assertRaises(mounts.UnsettledError, mounts.read, '',
                          lambda mount: True)

    def test_a_line_in_pieces(self) -> None:
        self.useFixture(_patch(mounts, 'PIECE', 7))
        self.assertEqual(1, len(mounts.read(self.path, lambda mount: True)))

    def test_a_line_that_is_none_is_an_error(self) -> None:
        with open(self.path, 'a') as file:
            file.write('36 35\n')
        self.assertRaises(OSError, mounts.read, self.path,
                          lambda mount: True)

    def test_those_of_a_device_or_an_id_are_found_among_many(self) -> None:
        with open(self.path, 'w') as file:
            file.write('36 1 254:1 / /a rw - ext4 /dev/vda1 rw\n'
                       '3 1 254:16 / /b\\040c rw shared:1 - ext4 /dev/b rw\n'
                       '136 1 254:160 / /36 rw - ext4 /dev/c rw\n'
                       '37 1 254:16 / /d rw - ext4 /dev/b rw\n')
        self.assertEqual([b'/b c', b'/d'], [
            row.point for row in mounts.of_device(self.path, '254:16')])
        self.assertEqual([b'/a'], [
            row.point for row in mounts.of_id(self.path, 36)])

    def test_also_among_those_a_line_that_is_none_is_an_error(self) -> None:
        with open(self.path, 'a') as file:
            file.write('36 35 98:0 /mnt\n')
        self.assertRaises(OSError, mounts.of_device, self.path, '1:1')

    def test_the_end_of_a_line_is_missing(self) -> None:
        with open(self.path, 'a') as file:
            file.write(LINE.decode())
        self.assertRaises(OSError, mounts.read, self.path,
                          lambda mount: True)

    def test_there_is_an_end(self) -> None:
        self.assertRaises(TimeoutError, mounts.read, self.path,
                          lambda mount: True, 0)


def _patch(module: object, name: str, value: object) -> object:
    import fixtures
    return fixtures.MockPatchObject(module, name, value)
