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
A volume has one backup in the making at a time, so each key is there once
and is overwritten by the next window.
"""

from collections.abc import Iterator
import dataclasses
import time
from typing import Any

from cinder import objects
from oslo_serialization import jsonutils

from cinder_wt_backup.claims import claim as claims

OPEN = 'wt:open'            # the host whose window is open, else empty
WINDOW = 'wt:window'        # of which backup, its token, deadline, process
FROZEN = 'wt:frozen'        # the token of a window that may have frozen
VERDICT = 'wt:verdict'      # what the last window came to, for which backup
# Of what it came to, the texts: each may fill a value of 255 characters.
TEXTS = tuple(claims.PREFIX + key for key in ('reason', 'filesystems'))
EXEMPT = 'exempt'
_CLOSED = {OPEN: '', WINDOW: '', FROZEN: ''}


@dataclasses.dataclass(frozen=True)
class Entry:
    """An open window as recorded.

    :ivar until: when its lease has surely ended, seconds of the epoch
    :ivar process: which process of its host has it; empty: none any more
    :ivar frozen: whether it may have frozen a guest
    """

    backup: str
    token: str
    until: float
    process: str = ''
    frozen: bool = False

    @property
    def lapsed(self) -> bool:
        return time.time() > self.until


def opened(context: Any, volume: str, host: str, entry: Entry) -> None:
    """Record an open window, before anything is changed in a guest.

    The last window's verdict goes: who finds one may stop waiting.
    """
    _write(context, volume, {
        VERDICT: '', FROZEN: '', OPEN: host, WINDOW: _window(entry)})


def frozen(context: Any, volume: str, token: str) -> None:
    """Record that a window is about to freeze a guest."""
    _write(context, volume, {FROZEN: token})


def closed(context: Any, volume: str, backup: str,
           proof: claims.Claim | None, keep: Entry | None) -> None:
    """Record what a window came to, and that it is closed.

    :param proof: None: the backup is exempt, it carries no evidence
    :param keep: this counts as open still, for somebody to put a guest back
    """
    metadata = proof.as_metadata() if proof else {}
    texts = {key: metadata.pop(key, '') for key in TEXTS}
    _write(context, volume, {
        VERDICT: jsonutils.dumps({
            'backup': backup,
            'proof': _stripped(metadata) if proof else EXEMPT}),
        **texts, **({WINDOW: _window(keep, process='')} if keep
                    else _CLOSED)})


def abandoned(context: Any, volume: str, entry: Entry) -> None:
    """Record that a window which a process left open is closed."""
    found = window_of(context, volume)
    if found and found.token == entry.token:
        _write(context, volume, _CLOSED)


def verdict(context: Any, volume: str,
            backup: str) -> claims.Claim | None | str:
    """Return what the window of that backup came to.

    :returns: the evidence; ``EXEMPT``; None when there is no verdict yet
    """
    values = _read(context, volume)
    try:
        found = jsonutils.loads(values.get(VERDICT) or '{}')
        if found.get('backup') != backup:
            return None
        if found['proof'] == EXEMPT:
            return EXEMPT
        return claims.Claim.from_metadata({
            **{claims.PREFIX + key: value
               for key, value in found['proof'].items()},
            **{key: values.get(key, '') for key in TEXTS}})
    except (ValueError, KeyError, AttributeError):
        return None


def window_of(context: Any, volume: str) -> Entry | None:
    """Return the window that is open on a volume, if one is."""
    values = _read(context, volume)
    try:
        entry = Entry(**jsonutils.loads(values[WINDOW]))
    except (ValueError, KeyError, TypeError):
        return None
    return dataclasses.replace(entry,
                               frozen=values.get(FROZEN) == entry.token)


def left_open(context: Any, host: str) -> Iterator[tuple[Any, Entry]]:
    """Find the windows that a host has on record, with their volumes.

    Cinder's own volume filter matches user metadata as well, which a tenant
    may fill as he likes: what counts is read from the admin metadata.
    """
    for volume in objects.VolumeList.get_all(
            context, filters={'metadata': {OPEN: host}}):
        entry = window_of(context, volume.id)
        if entry and _read(context, volume.id).get(OPEN) == host:
            yield volume, entry


def _window(entry: Entry, **changes: str) -> str:
    return str(jsonutils.dumps(dataclasses.asdict(entry) | changes))


def _read(context: Any, volume: str) -> dict[str, str]:
    found: dict[str, str] = objects.Volume.get_by_id(
        context.elevated(), volume).admin_metadata
    return found


def _write(context: Any, volume: str, metadata: dict[str, str]) -> None:
    objects.Volume.get_by_id(
        context.elevated(), volume).admin_metadata_update(metadata, False)


def _stripped(metadata: dict[str, str]) -> dict[str, str]:
    return {key.removeprefix(claims.PREFIX): value
            for key, value in metadata.items()}
