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

"""What every process and host can know of a window: in Cinder's database.

Kept in the volume's *admin* metadata, which tenants can neither read nor
write, and which any cinder-backup finds by the host that opened the window.
A volume has one backup in the making at a time, so there is one record, which
the next window overwrites; its values have the format of
:mod:`cinder_wt_backup.service.record`, each in as many columns as it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import time

from cinder import context as contexts
from cinder import exception
from cinder import objects
from oslo_db import exception as db_exception
from oslo_log import log as logging
import tenacity

from cinder_wt_backup import exceptions
from cinder_wt_backup import plain
from cinder_wt_backup.service import database
from cinder_wt_backup.service import record

LOG = logging.getLogger(__name__)

HOST = 'wt:open'            # the host whose window is open, else empty
WINDOW = 'wt:window'        # which window that is
CLAIM = 'wt:claim'          # what the last window came to, for which backup
# Cinder keeps the values of metadata in columns of this width.
WIDTH = 255
# Far more than the longest claim needs: what is longer cannot be read.
MOST_COLUMNS = 64
_Values = dict[str, str]


def open_window(context: contexts.RequestContext, volume: str,
                window: record.OpenWindow) -> None:
    """Record an open window, before anything is changed in a guest.

    What was on record goes: the last window's claim, for who finds one may
    stop waiting, and what cannot be read.
    """
    _change(context, volume, lambda found: {
        CLAIM: '', HOST: window.host, WINDOW: window.to_json()})


def note_freeze(context: contexts.RequestContext, volume: str,
                token: str) -> None:
    """Record that a window is about to freeze a guest.

    :raises RecordUnreadable: it is not on record as open
    """
    def change(found: _Values) -> _Values:
        window = _own(found, token)
        if window is None:
            raise exceptions.RecordUnreadable(
                f'the window on volume {volume} is not on record any more')
        return {WINDOW: dataclasses.replace(
            window, may_be_frozen=True).to_json()}
    _change(context, volume, change)


def close_window(context: contexts.RequestContext, volume: str,
                 token: str, stored: record.StoredClaim,
                 left_changed: bool = False) -> None:
    """Record what a window came to, and that it is closed.

    What another window, or a later backup, has put on record stays.

    :param left_changed: it counts as open still, for somebody to put its
        guests back
    """
    def change(found: _Values) -> _Values:
        window = _own(found, token)
        if window is None:
            return {} if found[WINDOW] else {CLAIM: stored.to_json()}
        closed = ({WINDOW: dataclasses.replace(window, owner='').to_json()}
                  if left_changed else {HOST: '', WINDOW: ''})
        # It was empty since this window was opened.
        return {CLAIM: found[CLAIM] or stored.to_json(), **closed}
    _change(context, volume, change)


def note_claim(context: contexts.RequestContext, volume: str,
               stored: record.StoredClaim) -> None:
    """Record what is claimed where there was no window."""
    _change(context, volume, lambda found: {CLAIM: stored.to_json()})


def forget_window(context: contexts.RequestContext, volume: str,
                  token: str) -> None:
    """Record that a window which a process left open is closed."""
    _change(context, volume, lambda found: (
        {HOST: '', WINDOW: ''} if _own(found, token) else {}))


def claim_of(context: contexts.RequestContext, volume: str,
             backup: str) -> record.StoredClaim | None:
    """Return what the window of a backup came to; None: not known."""
    text = _read(context, volume)[CLAIM]
    try:
        stored = record.StoredClaim.from_json(text) if text else None
    except exceptions.RecordUnreadable as error:
        LOG.error('Volume %(volume)s: %(error)s.',
                  {'volume': volume, 'error': plain.text(error)})
        return None
    return stored if stored and stored.backup == backup else None


def window_of(context: contexts.RequestContext,
              volume: str) -> record.OpenWindow | None:
    """Return the window that is open on a volume, if one is.

    :raises RecordUnreadable: there is one, of another version
    """
    text = _read(context, volume)[WINDOW]
    return record.OpenWindow.from_json(text) if text else None


def is_open(context: contexts.RequestContext, volume: str,
            token: str) -> bool:
    """Whether the window of that name is on record as open."""
    return _own(_read(context, volume), token) is not None


def left_open(context: contexts.RequestContext
              ) -> Iterator[tuple[objects.Volume, record.OpenWindow]]:
    """Find the windows that are on record, of all hosts, with their volumes.

    A record that cannot be read stays as it is, and is told each time.
    """
    for volume, text in on_record(context):
        try:
            yield volume, record.OpenWindow.from_json(text)
        except exceptions.RecordUnreadable as error:
            LOG.error('Volume %(volume)s: %(error)s. It is left to the '
                      'cinder-backup that wrote it, to the lease of the '
                      'guests, and to the next backup of that volume.',
                      {'volume': volume.id, 'error': plain.text(error)})


def on_record(context: contexts.RequestContext
              ) -> Iterator[tuple[objects.Volume, str]]:
    """Find the volumes with a window, and what says so."""
    for volume in database.volumes_with(context, HOST):
        try:
            text = _read(context, volume)[WINDOW]
            if text:
                yield objects.Volume.get_by_id(context, volume), text
        except exception.VolumeNotFound:
            continue            # it was deleted meanwhile


def attempt(write: Callable[..., None],
            context: contexts.RequestContext, volume: str,
            *args: object) -> bool:
    """Write to the record; no backup fails by it.

    :param write: one of this module's functions
    :returns: whether it was written
    """
    try:
        write(context, volume, *args)
        return True
    except Exception as error:
        # Whatever the database raised: the backup goes on.
        LOG.error('What is known of the window on volume %s could not be '
                  'written: see that the database works.', volume,
                  exc_info=plain.error(error))
        return False


# The first use of a connection tells that the database was restarted.
_stubbornly: Callable[..., _Values] = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(db_exception.DBConnectionError),
    stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_fixed(1),
    reraise=True, sleep=time.sleep)


def _own(found: _Values, token: str) -> record.OpenWindow | None:
    """Return the window that is on record, if it is the one of that name."""
    try:
        window = record.OpenWindow.from_json(found[WINDOW])
    except exceptions.RecordUnreadable:
        return None
    return window if window.token == token else None


def _read(context: contexts.RequestContext, volume: str) -> _Values:
    """Return the record, each value put together from its columns."""
    return _change(context, volume, lambda found: {})


def _change(context: contexts.RequestContext, volume: str,
            change: Callable[[_Values], _Values]) -> _Values:
    """Change the record; return it as it was.

    :param change: is told what is there, and returns what is to be there
    """
    return _stubbornly(_change_once, context, volume, change)


def _change_once(context: contexts.RequestContext, volume: str,
                 change: Callable[[_Values], _Values]) -> _Values:
    row = objects.Volume.get_by_id(context.elevated(), volume)
    found = {key: _joined(row.admin_metadata, key)
             for key in (HOST, WINDOW, CLAIM)}
    columns: dict[str, str] = {}
    for key, text in change(found).items():
        # What is left of a longer value that was there.
        columns.update({name: '' for name in row.admin_metadata
                        if name.startswith(f'{key}.')})
        columns.update(_columns(key, text))
    if columns:
        row.admin_metadata_update(columns, False)
    return found


def _columns(key: str, text: str) -> dict[str, str]:
    """Return a value as columns: ``key``, ``key.1``, ``key.2`` …"""
    return {f'{key}.{start // WIDTH}' if start else key:
            text[start:start + WIDTH]
            for start in range(0, max(len(text), 1), WIDTH)}


def _joined(columns: Mapping[str, str], key: str) -> str:
    """Return a value that :func:`_columns` has split."""
    text = columns.get(key, '')
    for number in range(1, MOST_COLUMNS):
        part = columns.get(f'{key}.{number}')
        if not part:
            break
        text += part
    return text
