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

"""The one query that Cinder's objects do not have."""

from __future__ import annotations

from cinder import context as contexts

try:
    from cinder.db.api import main_context_manager
    from cinder.db import models
except ImportError:     # where it is before 2026.2
    from cinder.db.sqlalchemy.api import main_context_manager
    from cinder.db.sqlalchemy import models


def volumes_with(context: contexts.RequestContext, key: str) -> dict[str, str]:
    """Return the volumes with something in their admin metadata, and what.

    It starts at the admin metadata. Cinder's own filter of volumes visits
    every volume, and matches users' metadata as well, which a tenant may fill
    as he likes.

    :param key: volumes where this is empty are left out
    """
    table = models.VolumeAdminMetadata
    with main_context_manager.reader.using(context) as session:
        found = session.query(table.volume_id, table.value).filter(
            table.deleted.is_(False), table.key == key, table.value != '')
        return dict(map(tuple, found))
