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

"""What the point in time itself shows, compared with what is claimed."""

from __future__ import annotations

import dataclasses

from oslo_log import log as logging

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import ondisk
from cinder_wt_backup.ondisk import reader
from cinder_wt_backup import plain

LOG = logging.getLogger(__name__)

Level = claims.Level
# Which file systems are as clean when frozen as unmounted, by what is on disk,
# and what the kernel and the disk call others that cannot be told from them.
_CLEAN_WHEN_FROZEN = {'ext': ('ext', 'ext2', 'ext3', 'ext4'),
                      'btrfs': ('btrfs',)}


def compare(claim: claims.Claim, file: reader.File) -> claims.Claim:
    """Return the claim with what was seen, and a level no higher.

    :param file: the point in time as Cinder gives it to a driver: seekable,
        in its adapter for blocking calls; its position stays as it is
    """
    try:
        found = ondisk.look(file)
    except Exception as error:
        # Whatever the back end raised: no backup fails by our curiosity.
        LOG.warning('The point in time cannot be looked at.',
                    exc_info=plain.error(error))
        found = []
    claim = dataclasses.replace(claim, verified=ondisk.summary(found).value)
    kind = _contradiction(claim, found)
    if kind:
        LOG.error('The level %(level)s is contradicted by what was stored: an '
                  '%(kind)s that was frozen needs its journal replayed.',
                  {'level': claim.level.value, 'kind': kind})
        return claim.without_freeze(
            f'the snapshot does not look frozen: {kind} needs its journal '
            f'replayed')
    return claim


def _contradiction(claim: claims.Claim,
                   found: list[ondisk.Found]) -> str | None:
    """Return the kind of a file system that cannot have been frozen.

    One that was not mounted may need a replay from long ago, and only where
    everything is seen can it be known that it is not that one.
    """
    if not claim.freeze_ms or claim.level < Level.FILESYSTEM or any(
            each.state is ondisk.State.NOT_VISIBLE for each in found):
        return None
    for kind, alike in _CLEAN_WHEN_FROZEN.items():
        frozen = sum(claim.filesystems.get(name, 0) for name in alike)
        dirty = sum(each.kind == kind and each.state is ondisk.State.JOURNAL
                    for each in found)
        if dirty and frozen + dirty > sum(each.kind in alike
                                          for each in found):
            return kind
    return None
