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

"""What a backup can claim: put on record, told, and looked up again."""

from collections.abc import Callable
import time
from typing import Any

from cinder.volume import volume_utils
from oslo_db import exception as db_exception
from oslo_log import log as logging
import tenacity

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.claims import inspection
from cinder_wt_backup import plain
from cinder_wt_backup.service import store

LOG = logging.getLogger(__name__)


def conclude(context: Any, backup: Any, proof: claims.Claim | None,
             left_changed: store.Entry | None = None) -> None:
    """Record, notify and log the verdict.

    :param proof: None: the backup is exempt
    :param left_changed: the window, if a guest may still be in it
    """
    noted(store.closed, context, backup.volume_id, backup.id, proof,
          left_changed)
    if proof is None:
        return
    noted(_notify, context, backup, proof)
    details = {'backup': backup.id, 'volume': backup.volume_id,
               'level': proof.level.value, 'ms': proof.window_ms,
               'reason': proof.reason}
    if proof.reason:
        LOG.warning('Backup %(backup)s of volume %(volume)s is %(level)s: '
                    '%(reason)s', details)
    else:
        LOG.info('Backup %(backup)s of volume %(volume)s is %(level)s; '
                 'the window was open for %(ms)d ms.', details)


def of(context: Any, backup: Any, is_live: bool,
       point_in_time: Any) -> claims.Claim | None:
    """Return the verdict that holds for a backup; None: it is exempt.

    :param is_live: what is stored is the volume itself
    :param point_in_time: a file that has it, to be looked at, if any
    """
    proof = store.verdict(context, backup.volume_id, backup.id)
    if proof == store.EXEMPT:
        return None
    if not isinstance(proof, claims.Claim):
        proof = claims.Claim(
            claims.Level.CRASH, 'no verdict is on record for this backup: '
            'its window was not opened, or the process that had it is gone')
    if is_live:
        proof = proof.lowered(
            claims.Level.FLUSHED, 'the back end gave the live volume '
            'instead of a snapshot of it')
    if point_in_time is not None:
        proof = _verified(context, backup, proof, point_in_time)
    return proof


def noted(write: Callable[..., None], context: Any, *args: Any) -> bool:
    """Write to the record; a backup does not fail by it."""
    try:
        _stubbornly(write, context, *args)
        return True
    except Exception as error:
        # Whatever the database raised: the backup goes on.
        LOG.error('What is known of a window could not be written.',
                  exc_info=plain.error(error))
        return False


def _verified(context: Any, backup: Any, proof: claims.Claim,
              point_in_time: Any) -> claims.Claim:
    seen = inspection.against(proof, point_in_time)
    if seen.level < proof.level:
        # What was notified claimed too much.
        noted(_notify, context, backup, seen)
    return seen


# The first use of a connection tells that the database was restarted.
_stubbornly = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(db_exception.DBConnectionError),
    stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_fixed(1),
    reraise=True, sleep=time.sleep)


def _notify(context: Any, backup: Any, proof: claims.Claim) -> None:
    """Send ``backup.consistency``, which unlike metadata no tenant edits."""
    volume_utils.notify_about_backup_usage(
        context, backup, 'consistency', host=backup.host,
        extra_usage_info={'consistency': proof.as_metadata()})
