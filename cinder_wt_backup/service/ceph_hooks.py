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

"""The point in time that the ceph driver makes itself.

For an RBD volume there is no temporary object: ``_backup_rbd`` snapshots the
live image inside ``backup()``, after it may have made a base image and before
it transfers the difference. The window belongs around that snapshot alone.
"""

from collections.abc import Callable
import contextlib
from typing import Any

from cinder import exception
from cinder import objects

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import native
from cinder_wt_backup.service import backup_windows


def with_window(driver: type, backups: backup_windows.Backups) -> type:
    """Return the ceph driver's class with a window around its snapshot.

    :param driver: Cinder's CephBackupDriver
    """
    return type(driver.__name__, (_InWindow, driver),
                {'wt_backups': backups})


# What stands after it among the classes of what with_window returns.
_Driver: Any = object


class _InWindow(_Driver):  # type: ignore[misc]
    """The ceph driver with a window around its snapshot.

    ``_backup_rbd`` calls ``_get_new_snap_name``, then ``create_snap``, then
    ``_rbd_diff_transfer`` with that name as ``src_snap``.
    """

    wt_backups: backup_windows.Backups
    # What the backup that was made can claim.
    wt_proof: claims.Claim | None = None

    def _backup_rbd(self, backup: Any, volume_file: Any,
                    *args: Any, **kwargs: Any) -> Any:
        self._wt_backup, self._wt_file = backup, volume_file
        with contextlib.ExitStack() as self._wt_window:
            return super()._backup_rbd(backup, volume_file, *args,
                                       **kwargs)

    def _get_new_snap_name(self, backup_id: str) -> str:
        name: str = super()._get_new_snap_name(backup_id)
        volume = objects.Volume.get_by_id(self.context,
                                          self._wt_backup.volume_id)
        window = self._wt_window.enter_context(self.wt_backups.window(
            self.context, self._wt_backup, volume))
        self._wt_covered: Callable[[], None] | None = (
            window.covered if window else None)
        self._wt_snapshot: str | None = name
        return name

    def _rbd_diff_transfer(self, *args: Any, **kwargs: Any) -> Any:
        # A restore transfers too, without a snapshot of ours.
        if getattr(self, '_wt_snapshot', None):
            self._wt_end(kwargs['src_snap'])
        return super()._rbd_diff_transfer(*args, **kwargs)

    def _wt_end(self, snapshot: str) -> None:
        if self._wt_covered and snapshot == self._wt_snapshot:
            self._wt_covered()
        self._wt_snapshot = None
        self._wt_window.close()
        try:
            self.wt_proof = self.wt_backups.proof(
                self.context, self._wt_backup,
                _Snapshot(self._wt_file, snapshot))
        except exceptions.PolicyError as error:
            # What the ceph driver cleans up after.
            raise exception.BackupRBDOperationFailed(str(error)) from error


class _Snapshot:
    """The file of a live image, as it was at one of its snapshots."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        image = native.off_the_loop(self._file.rbd_image)
        image.set_snap(self._name)
        try:
            data: bytes = self._file.read(size)
            return data
        finally:
            image.set_snap(None)
