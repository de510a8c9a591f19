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

"""What a backup claims in the end: decided, and told once."""

from __future__ import annotations

from cinder import context as contexts
from cinder import objects
from cinder.volume import volume_utils
from oslo_log import log as logging

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.claims import inspection
from cinder_wt_backup.claims import metadata
from cinder_wt_backup.ondisk import reader
from cinder_wt_backup import plain
from cinder_wt_backup.service import plan as plans
from cinder_wt_backup.service import point_in_time
from cinder_wt_backup.service import store

LOG = logging.getLogger(__name__)


def final_claim(context: contexts.RequestContext, plan: plans.BackupPlan,
                content: reader.File | None) -> claims.Claim | None:
    """Return what holds for a backup in the end; None: it is exempt.

    :param content: a file of the point in time, to be looked at, if any
    """
    backup = plan.backup
    stored = store.claim_of(context, backup.volume_id, backup.id)
    if stored is None:
        claim = claims.Claim(
            claims.Level.CRASH, 'no claim is on record for this backup: its '
            'window was not opened, or the process that had it is gone')
    elif stored.claim is None:
        return None
    else:
        claim = stored.claim
    if plan.is_live:
        claim = claim.lowered(
            claims.Level.FLUSHED, 'the back end gave the live volume '
            'instead of a snapshot of it')
    if content is None:
        return claim
    if problem := point_in_time.objection(backup, content):
        claim = claim.lowered(claims.Level.CRASH, problem)
    return inspection.compare(claim, content)


def publish(context: contexts.RequestContext, backup: objects.Backup,
            claim: claims.Claim) -> None:
    """Log the claim and send ``backup.consistency``, which no tenant edits.

    Never fails: a backup is not lost because nobody could be told.
    """
    details = {'backup': backup.id, 'volume': backup.volume_id,
               'level': claim.level.value, 'ms': claim.window_ms,
               'reason': claim.reason}
    if claim.reason:
        LOG.warning('Backup %(backup)s of volume %(volume)s is %(level)s: '
                    '%(reason)s', details)
    else:
        LOG.info('Backup %(backup)s of volume %(volume)s is %(level)s; '
                 'the window was open for %(ms)d ms.', details)
    try:
        volume_utils.notify_about_backup_usage(
            context, backup, 'consistency', host=backup.host,
            extra_usage_info={'consistency': metadata.of_claim(claim)})
    except Exception as error:
        # Whatever the message bus raised.
        LOG.error('The claim of backup %s could not be notified.', backup.id,
                  exc_info=plain.error(error))
