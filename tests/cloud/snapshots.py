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

from cinder.volume.drivers import nfs


class NfsDriver(nfs.NfsDriver):
    """Cinder's NFS driver, whose snapshots can be attached besides.

    Those of Cinder's drivers that can do that (``backup_use_temp_snapshot``)
    need what this kernel has not. Nova makes the snapshots, as it does for
    Cinder's own driver: the guest goes on in a new file, and what the
    snapshot holds is the file below it.
    """

    def create_export_snapshot(self, _context: Any, _snapshot: Any,
                               _connector: Any) -> None:
        """Nothing to do: the share is there."""

    def remove_export_snapshot(self, _context: Any, _snapshot: Any) -> None:
        """Nothing to do either."""

    def initialize_connection_snapshot(self, snapshot: Any, connector: Any,
                                       **_kwargs: Any) -> dict[str, Any]:
        """Return how to reach the file that holds the snapshot."""
        volume = snapshot.volume
        files = self._read_info_file(self._local_path_volume_info(volume))
        overlay = os.path.join(self._local_volume_dir(volume),
                               files[snapshot.id])
        below = self._qemu_img_info(overlay, volume.name).backing_file
        found: dict[str, Any] = self.initialize_connection(volume, connector)
        found['data'] |= {'name': below, 'format': 'raw'}
        return found
