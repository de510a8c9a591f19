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

from unittest import mock

from os_brick.initiator import linuxrbd

from tests.unit import base
from tests.unit.fixtures import disks


class RbdTest(base.BackupTestCase):
    """A temporary volume on RBD, for a driver other than ceph."""

    def setUp(self) -> None:
        super().setUp()
        self.image = mock.NonCallableMagicMock()
        content = disks.ext().data
        self.image.size.return_value = len(content)
        self.image.read.side_effect = (
            lambda offset, size: bytes(content[offset:offset + size]))
        self.cinder_volume.device = linuxrbd.RBDVolumeIOWrapper(
            linuxrbd.RBDImageMetadata(self.image, 'volumes', 'cinder', None))

    def made(self) -> tuple[str, str]:
        """Make a backup; return its level and the reason for it."""
        backup = self.create(self.backup(self.attached()))
        self.assertEqual('available', backup.status)
        return (backup.metadata['wt:level'],
                backup.metadata.get('wt:reason', ''))

    def test_a_clone_of_a_snapshot_is_a_point_in_time(self) -> None:
        self.image.parent_info.return_value = ('volumes', 'volume', 'snap')
        self.assertEqual(('write-through', ''), self.made())
        self.image.parent_info.assert_called_once_with()

    def test_a_copy_of_the_live_image_is_none(self) -> None:
        self.image.parent_info.side_effect = OSError('no parent')
        level, reason = self.made()
        self.assertEqual('crash', level)
        self.assertIn('rbd_max_clone_depth', reason)

    def test_the_live_image_is_told_from_a_copy(self) -> None:
        self.cinder_volume.act = self.cinder_volume.give_the_volume
        level, reason = self.made()
        self.assertEqual('flushed', level)
        self.assertNotIn('rbd_max_clone_depth', reason)
