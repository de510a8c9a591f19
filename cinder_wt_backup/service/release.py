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

"""Putting back the guests of one window that was left open."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import enum

from cinder import context as contexts
from cinder import objects
from cinder.volume import volume_utils
from oslo_log import log as logging

from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup import plain
from cinder_wt_backup.service import attachments
from cinder_wt_backup.service import process
from cinder_wt_backup.service import record
from cinder_wt_backup.service import store
from cinder_wt_backup.window import guest as guest_window
from cinder_wt_backup.window import volume as windows

LOG = logging.getLogger(__name__)


class _ClosedMeanwhile(Exception):
    """Who has the window has closed it: nothing is left to be put back."""


class Released(enum.Enum):
    """What became of a window that was to be released."""

    PUT_BACK = 'put back'
    BY_ITSELF = 'closed by its own process meanwhile'
    # Nobody was reached, and it has ended; or what it takes is not permitted.
    BY_LEASE = 'left to its lease'
    ON_RECORD = 'still on record'


def release(context: contexts.RequestContext, volume: objects.Volume,
            window: record.OpenWindow, settings: conf.Settings) -> Released:
    """Put the guests of one window back and close its record.

    What cannot be put back is told and stays on record, to be tried again:
    until its lease has surely ended, or while the volume is attached where a
    guest is frozen or says that it is still changed.

    Whoever has the window open keeps the instance's lock: it is waited for,
    and then looked at again whether the window is open still.
    """
    LOG.warning('The window %(token)s of backup %(backup)s on volume '
                '%(volume)s was left open by a process that is gone, or that '
                'could not close it; releasing it.',
                {'token': window.token, 'backup': window.backup,
                 'volume': volume.id})
    try:
        seen = windows.recover(
            attachments.locate(context, volume, settings), window.token,
            window.may_be_frozen, settings,
            _lock_while_open(context, volume.id, window.token))
        released = Released.PUT_BACK if seen else Released.BY_LEASE
    except _ClosedMeanwhile:
        return Released.BY_ITSELF
    except Exception as error:
        # Whatever it is, it must not keep cinder-backup from working.
        _complain(volume, window, error)
        changed = (window.may_be_frozen
                   or isinstance(error, exceptions.GuardianStuck))
        if not window.lapsed or changed and volume.volume_attachment:
            return Released.ON_RECORD
        released = Released.BY_LEASE
    # What cannot be written is tried again, as all of this is.
    forgotten = store.attempt(store.forget_window, context, volume.id,
                              window.token)
    return released if forgotten else Released.ON_RECORD


def _lock_while_open(context: contexts.RequestContext, volume: str, token: str
                     ) -> guest_window.Lock:
    """Return an instance's lock that is of use while a window is open.

    It raises _ClosedMeanwhile if it is not, once the lock is held.
    """
    @contextlib.contextmanager
    def lock(instance: str, timeout: int) -> Iterator[None]:
        with process.lock(instance, timeout):
            if not store.is_open(context, volume, token):
                raise _ClosedMeanwhile()
            yield
    return lock


def give_up(context: contexts.RequestContext, volume: objects.Volume,
            window: record.OpenWindow) -> None:
    """Tell that a window is not tried any more."""
    LOG.error('The window %(token)s of backup %(backup)s on volume %(volume)s '
              'could not be released until a day after its lease, and is not '
              'tried any more. %(remedy)s.',
              {'token': window.token, 'backup': window.backup,
               'volume': volume.id, 'remedy':
               'A guest may still be frozen: run virsh domfsthaw on its host'
               if window.may_be_frozen else
               'See in its guest whether a file system of that volume is '
               'still synchronous (findmnt -O sync)'})
    try:
        volume_utils.notify_about_volume_usage(
            context, volume, 'write_through.given_up', host=window.host,
            extra_usage_info={'backup_id': window.backup,
                              'may_be_frozen': window.may_be_frozen})
    except Exception as error:
        # Whatever the message bus raised.
        LOG.error('That could not be notified.', exc_info=plain.error(error))
    store.attempt(store.forget_window, context, volume.id, window.token)


def _complain(volume: objects.Volume, window: record.OpenWindow,
              error: Exception) -> None:
    LOG.error('The window on volume %(volume)s could not be released: '
              '%(error)s. It is tried again; %(remedy)s.',
              {'volume': volume.id, 'error': plain.text(error),
               'remedy': _remedy(window)})


def _remedy(window: record.OpenWindow) -> str:
    return ('a guest may still be frozen: run virsh domfsthaw on its host'
            if window.may_be_frozen else 'its guest undoes it by its lease')
