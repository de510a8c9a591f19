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

"""Whether what Cinder gave to be stored is of one point in time."""

from __future__ import annotations

from cinder import objects

from cinder_wt_backup.ondisk import reader
from cinder_wt_backup import plain
from cinder_wt_backup.service import rbd


def objection(backup: objects.Backup, file: reader.File) -> str:
    """Return why a file may be of none; empty: nothing speaks against it.

    With ``rbd_max_clone_depth = 0`` Cinder's RBDDriver.create_cloned_volume
    copies the live image, while the guest writes to it. A clone of a snapshot
    has a parent; a temporary volume is never flattened.

    :param file: of the temporary volume or snapshot
    """
    image = rbd.image_of(file)
    if not backup.temp_volume_id or image is None:
        return ''
    try:
        image.parent()
    except Exception as error:
        # librbd's ImageNotFound, or whatever it has instead of an answer.
        return ('the temporary volume was not seen to be a clone of a '
                'snapshot, so it may be a copy of what was written to '
                'meanwhile: set rbd_max_clone_depth of its back end to more '
                f'than 0 ({plain.text(error)})')
    return ''
