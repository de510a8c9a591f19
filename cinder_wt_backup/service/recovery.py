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


"""Windows that were left open: whose they are, and closing them.

A window belongs to the process that opened it for as long as that lives. What
a process of this host left is released as soon as it is seen to be gone. What
another host left is released once that host is down: a freeze at once, the
rest after its lease, when the guest has put itself back anyway.
"""

from __future__ import annotations

from cinder import context as contexts
from cinder import coordination
from cinder import objects
from oslo_log import log as logging

from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup import plain
from cinder_wt_backup.service import attachments
from cinder_wt_backup.service import owners
from cinder_wt_backup.service import process
from cinder_wt_backup.service import record
from cinder_wt_backup.service import store
from cinder_wt_backup.window import volume as windows

LOG = logging.getLogger(__name__)

BINARY = 'cinder-backup'
LOCK = 'wt-backup-recovery'


def recover(context: contexts.RequestContext, host: str,
            settings: conf.Settings) -> None:
    """Close what processes of this host, and hosts that are down, left open.

    Does nothing while another worker is at it: nobody waits for that.

    :param host: this host, as cinder-backup calls it
    """
    lock = coordination.COORDINATOR.get_lock(LOCK)
    if not lock.acquire(blocking=False):
        return
    try:
        _recover(context, host, settings)
    finally:
        lock.release()


def is_abandoned(context: contexts.RequestContext, window: record.OpenWindow,
                 host: str) -> bool:
    """Whether nobody will close a window, unless we do.

    :param host: this host, as cinder-backup calls it
    """
    if window.lapsed:
        return True
    if window.host == host:
        return owners.is_gone(window.owner)
    # What is not frozen its guest puts back anyway.
    return window.may_be_frozen and window.host in _hosts_down(context)


def _recover(context: contexts.RequestContext, host: str,
             settings: conf.Settings) -> None:
    for each in {host, *_hosts_down(context)}:
        for volume, window in store.left_open(context, each):
            if is_abandoned(context, window, host):
                release(context, volume, window, settings)


def release(context: contexts.RequestContext, volume: objects.Volume,
            window: record.OpenWindow, settings: conf.Settings) -> None:
    """Put the guests of one window back and close its record.

    What cannot be put back is told and stays on record, to be tried again:
    until its lease has surely ended, or while the volume is attached where a
    guest is frozen or says that it is still changed.
    """
    LOG.warning('The window %(token)s of backup %(backup)s on volume '
                '%(volume)s was left open by a process that is gone, or that '
                'could not close it; releasing it.',
                {'token': window.token, 'backup': window.backup,
                 'volume': volume.id})
    try:
        windows.recover(attachments.locate(context, volume, settings),
                        window.token, window.may_be_frozen, settings,
                        process.lock)
    except Exception as error:
        # Whatever it is, it must not keep cinder-backup from working.
        _complain(volume, window, error)
        changed = (window.may_be_frozen
                   or isinstance(error, exceptions.GuardianStuck))
        if not window.lapsed or changed and volume.volume_attachment:
            return
    # What cannot be written is tried again, as all of this is.
    store.attempt(store.forget_window, context, volume.id, window.token)


def _complain(volume: objects.Volume, window: record.OpenWindow,
              error: Exception) -> None:
    remedy = ('a guest may still be frozen: run virsh domfsthaw on its host'
              if window.may_be_frozen else 'its guest undoes it by its lease')
    LOG.error('The window on volume %(volume)s could not be released: '
              '%(error)s. It is tried again; %(remedy)s.',
              {'volume': volume.id, 'error': plain.text(error),
               'remedy': remedy})


def _hosts_down(context: contexts.RequestContext) -> list[str]:
    """Return the hosts whose cinder-backup is down, as Cinder sees it."""
    services = objects.ServiceList.get_all(
        context, {'binary': BINARY, 'is_up': False})
    return [service.host for service in services]
