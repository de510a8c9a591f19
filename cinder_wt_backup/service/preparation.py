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

"""What is seen to before a window is opened: earlier ones, whose guests."""

from __future__ import annotations

import dataclasses
import time

from cinder import context as contexts
from cinder import exception
from cinder import objects
from cinder.objects import fields
from oslo_log import log as logging

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup import plain
from cinder_wt_backup.service import attachments
from cinder_wt_backup.service import plan as plans
from cinder_wt_backup.service import process
from cinder_wt_backup.service import record
from cinder_wt_backup.service import recovery
from cinder_wt_backup.service import release
from cinder_wt_backup.service import store
from cinder_wt_backup.window import volume as windows

LOG = logging.getLogger(__name__)

# How often it is looked whether an earlier window has closed, seconds.
POLL = 0.5


def prepare(context: contexts.RequestContext, plan: plans.BackupPlan,
            settings: conf.Settings) -> windows.Window | None:
    """Return the window to open; note why there is none, if there is."""
    volume = plan.volume
    try:
        _close_earlier(context, volume, plan.backup, settings)
        return windows.Window(
            attachments.locate(context, volume, settings), settings,
            process.lock, lambda token: _note_freeze(context, volume, token))
    except exceptions.WriteThroughError as error:
        problem = str(error)
    except Exception as error:
        # No backup fails because looking had trouble.
        LOG.error('Volume %s: unexpected error.', volume.id,
                  exc_info=plain.error(error))
        problem = f'unexpected error: {error}'
    store.attempt(store.note_claim, context, volume.id, record.StoredClaim(
        plan.backup.id, claims.Claim(claims.Level.CRASH, problem)))
    return None


def _close_earlier(context: contexts.RequestContext, volume: objects.Volume,
                   backup: objects.Backup, settings: conf.Settings) -> None:
    """Release what an earlier window left: the record has room for one.

    One that is in good hands is waited for, as another in its instance.

    :raises WindowInTheWay: that is open still
    """
    until = time.monotonic() + settings.lock_timeout
    while earlier := _earlier(context, volume):
        if recovery.is_abandoned(context, earlier, backup.host):
            release.release(context, volume, earlier, settings)
            if not _earlier(context, volume):
                return
        if time.monotonic() > until:
            raise exceptions.WindowInTheWay(
                f'the window of an earlier backup of this volume, '
                f'{earlier.backup}, is open still, or could not be '
                f'closed: see the log of cinder-backup on {earlier.host}')
        time.sleep(POLL)


def _earlier(context: contexts.RequestContext,
             volume: objects.Volume) -> record.OpenWindow | None:
    try:
        return store.window_of(context, volume.id)
    except exceptions.RecordUnreadable as error:
        LOG.error('Volume %(volume)s: %(error)s. It is written over: what '
                  'it left in a guest is undone there by its lease.',
                  {'volume': volume.id, 'error': plain.text(error)})
        return None


def as_it_is_now(context: contexts.RequestContext,
                 plan: plans.BackupPlan) -> plans.BackupPlan:
    """Return the plan after its turn was waited for.

    The volume may be attached elsewhere by now.

    :raises BackupGone: nobody wants the backup any more: Cinder, which has
        looked before, is not to make anything for it
    """
    try:
        volume = objects.Volume.get_by_id(context, plan.volume.id)
        backup = objects.Backup.get_by_id(context, plan.backup.id)
    except exception.NotFound:
        raise exceptions.BackupGone(
            'the backup or its volume was deleted while it waited for its '
            'turn') from None
    except Exception as error:
        LOG.error('Volume %s cannot be looked at again.', plan.volume.id,
                  exc_info=plain.error(error))
        return plan
    if backup.status != fields.BackupStatus.CREATING:
        raise exceptions.BackupGone(
            f'the backup was reset to {backup.status} while it waited for its '
            f'turn')
    return dataclasses.replace(plan, volume=volume)


def _note_freeze(context: contexts.RequestContext, volume: objects.Volume,
                 token: str) -> None:
    """Put on record that a guest is about to be frozen.

    :raises WriteThroughError: it cannot be: it must not be frozen
    """
    if not store.attempt(store.note_freeze, context, volume.id, token):
        raise exceptions.WriteThroughError(
            'the freeze could not be put on record')
