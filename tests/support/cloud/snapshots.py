#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


"""A back end of the test cloud that lets a temporary snapshot be read."""

import os
from typing import Any

from cinder.image import image_utils
from cinder.volume.drivers import nfs


class NfsDriver(nfs.NfsDriver):
    """Cinder's NFS driver, whose snapshots can be attached besides.

    Those of Cinder's drivers that can do that (``backup_use_temp_snapshot``)
    need what this kernel has not. Nova makes the snapshots, as it does for
    Cinder's own driver: the guest goes on in a new file, and what the
    snapshot holds is the file below it. That is read as a raw copy, made when
    it is attached: the window has ended by then.
    """

    def create_export_snapshot(self, _context: Any, snapshot: Any,
                               _connector: Any) -> None:
        """Make the copy."""
        volume = snapshot.volume
        folder = self._local_volume_dir(volume)
        files = self._read_info_file(self._local_path_volume_info(volume))
        overlay = os.path.join(folder, files[snapshot.id])
        below = self._qemu_img_info(overlay, volume.name).backing_file
        source = os.path.join(folder, below)
        image_utils.convert_image(
            source, self._copy_of(snapshot), 'raw', run_as_root=False,
            src_format=self._qemu_img_info(source, volume.name).file_format)

    def remove_export_snapshot(self, _context: Any, snapshot: Any) -> None:
        """Remove the copy."""
        os.unlink(self._copy_of(snapshot))

    def initialize_connection_snapshot(self, snapshot: Any, connector: Any,
                                       **_kwargs: Any) -> dict[str, Any]:
        """Return how to reach the copy."""
        found: dict[str, Any] = self.initialize_connection(snapshot.volume,
                                                           connector)
        name = os.path.basename(self._copy_of(snapshot))
        found['data'] |= {'name': name, 'format': 'raw'}
        return found

    def _copy_of(self, snapshot: Any) -> str:
        return os.path.join(self._local_volume_dir(snapshot.volume),
                            f'snapshot-{snapshot.id}.raw')
