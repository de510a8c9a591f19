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

from __future__ import annotations

from collections.abc import Callable
import contextlib
from typing import Any

from cinder import exception
from cinder import objects

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.ondisk import reader
from cinder_wt_backup.service import backup_windows
from cinder_wt_backup.service import plan as plans
from cinder_wt_backup.service import rbd

# Any: what stands after InWindow among a driver's classes carries no types.
_Driver: Any = object


class InWindow(_Driver):  # type: ignore[misc]
    """Before the ceph driver's class: a window around its snapshot.

    ``_backup_rbd`` calls ``_get_new_snap_name``, then ``create_snap``, then
    ``_rbd_diff_transfer`` with that name as ``src_snap``.
    """

    backups: backup_windows.Backups
    wt_plan: plans.BackupPlan
    wt_claim: claims.Claim | None

    def _backup_rbd(self, backup: objects.Backup,
                    volume_file: reader.File, *args: object,
                    **kwargs: object) -> object:
        self._wt_file = volume_file
        with contextlib.ExitStack() as self._wt_window:
            return super()._backup_rbd(backup, volume_file, *args,
                                       **kwargs)

    def _get_new_snap_name(self, backup_id: str) -> str:
        name: str = super()._get_new_snap_name(backup_id)
        # Else there was a window before, for what cinder-volume has made.
        if self.wt_plan.in_driver:
            window = self._wt_window.enter_context(self.backups.window(
                self.context, self.wt_plan))
            self._wt_cover: Callable[[], None] | None = (
                window.cover if window else None)
            self._wt_snapshot: str | None = name
        return name

    def _rbd_diff_transfer(self, *args: object, **kwargs: object) -> object:
        # A restore transfers too, without a snapshot of ours.
        if getattr(self, '_wt_snapshot', None):
            self._wt_end(str(kwargs['src_snap']))
        return super()._rbd_diff_transfer(*args, **kwargs)

    def _wt_end(self, snapshot: str) -> None:
        if self._wt_cover and snapshot == self._wt_snapshot:
            self._wt_cover()
        self._wt_snapshot = None
        self._wt_window.close()
        try:
            self.wt_claim = self.backups.claim(
                self.context, self.wt_plan,
                _Snapshot(self._wt_file, snapshot))
        except exceptions.PolicyError as error:
            # What the ceph driver cleans up after.
            raise exception.BackupRBDOperationFailed(str(error)) from error


class _Snapshot:
    """The file of a live image, as it was at one of its snapshots.

    :param file: os-brick's RBDVolumeIOWrapper, as the ceph driver is given it
    """

    def __init__(self, file: reader.File, name: str) -> None:
        self._file, self._name = file, name
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        image = rbd.image_of(self._file)
        if image is None:
            raise OSError('it is no RBD image')
        image.show_snapshot(self._name)
        try:
            return self._file.read(size)
        finally:
            image.show_snapshot(None)
