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

"""Windows that ended before their snapshots, kept on record as ended.

Cinder's NFS driver, when its snapshot is made, writes the volume's admin
metadata back as they were when it began: with the window open in them, and
without its claim.
"""

from __future__ import annotations

import dataclasses
import time

from cinder import context as contexts
from cinder import exception
from oslo_log import log as logging

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import plain
from cinder_wt_backup.service import record
from cinder_wt_backup.service import store

LOG = logging.getLogger(__name__)

# For how long it is remembered what such a window came to, seconds.
REMEMBERED = 6 * 3600


@dataclasses.dataclass(frozen=True)
class _Ended:
    """One of them, and what it came to.

    :ivar forgotten: when nobody needs this any more, on this process's clock
    """

    volume: str
    token: str
    claim: claims.Claim | None
    left_changed: bool
    forgotten: float


class EndedEarly:
    """Those of this process."""

    def __init__(self) -> None:
        self._ended: dict[str, _Ended] = {}         # by the backup

    def note(self, backup: str, volume: str, token: str,
             claim: claims.Claim | None, left_changed: bool) -> None:
        """Remember what the window of a backup came to."""
        self._ended[backup] = _Ended(volume, token, claim, left_changed,
                                     time.monotonic() + REMEMBERED)

    def see_to_all(self, context: contexts.RequestContext) -> None:
        """See that all of them are on record as ended; never fails."""
        for backup in list(self._ended):
            self.see_to(context, backup)

    def see_to(self, context: contexts.RequestContext, backup: str,
               last: bool = False) -> None:
        """See that one is on record as ended, if it is one; never fails.

        :param last: it need not be remembered any more
        """
        ended = self._ended.get(backup)
        if ended is None:
            return
        try:
            if store.is_open(context, ended.volume, ended.token):
                store.close_window(context, ended.volume, ended.token,
                                   record.StoredClaim(backup, ended.claim),
                                   ended.left_changed)
        except exception.VolumeNotFound:
            self._ended.pop(backup, None)
        except Exception as error:
            # Whatever the database raised: it is looked again.
            LOG.warning('What is on record of backup %s cannot be seen.',
                        backup, exc_info=plain.error(error))
        if last or time.monotonic() > ended.forgotten:
            self._ended.pop(backup, None)
