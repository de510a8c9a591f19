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

"""The format of what is kept of a window and of its claim: JSON.

Keys may be added in a version, never changed: who writes a window again keeps
those that he does not know, and nobody touches what he cannot read.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import math
import time

from oslo_serialization import jsonutils

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions

VERSION = 1
EXEMPT = 'exempt'
# Characters of a record that are told of in an error.
QUOTED = 255


@dataclasses.dataclass(frozen=True)
class OpenWindow:
    """A window as it is on record.

    :ivar host: the host that opened it, as cinder-backup calls it
    :ivar backup: the backup that it is for
    :ivar token: its name in the guests
    :ivar ends: when its lease has surely ended, seconds of the epoch
    :ivar owner: which process of its host has it; empty: none any more
    :ivar may_be_frozen: whether it may have frozen a guest
    :ivar others: what another version has put there, to be kept
    """

    host: str
    backup: str
    token: str
    ends: float
    owner: str = ''
    may_be_frozen: bool = False
    version: int = VERSION
    others: Mapping[str, object] = dataclasses.field(default_factory=dict)

    @property
    def lapsed(self) -> bool:
        """Whether its lease has surely ended."""
        return time.time() > self.ends

    def _check(self) -> None:
        """See that everything is of its type.

        :raises TypeError: something is not
        """
        texts = (self.host, self.backup, self.token, self.owner)
        if not (all(isinstance(text, str) for text in texts)
                and isinstance(self.ends, (int, float))
                and math.isfinite(self.ends)
                and isinstance(self.version, int)
                and isinstance(self.may_be_frozen, bool)):
            raise TypeError('a value is none of its kind')

    def to_json(self) -> str:
        """Return it as text for the database."""
        known = dataclasses.asdict(self)
        return str(jsonutils.dumps({**known.pop('others'), **known}))

    @classmethod
    def from_json(cls, text: str) -> OpenWindow:
        """Read what this or another version wrote.

        :raises RecordUnreadable: what every version has is not there
        """
        try:
            values = dict(jsonutils.loads(text))
            own = {field.name: values.pop(field.name)
                   for field in dataclasses.fields(cls)
                   if field.name != 'others' and field.name in values}
            window = cls(**own, others=values)
            window._check()
            return window
        except (AttributeError, KeyError, TypeError, ValueError,
                RecursionError) as error:
            raise exceptions.RecordUnreadable(
                f'the record of a window, {text[:QUOTED]!r}, cannot be '
                f'read here: {error}') from error


@dataclasses.dataclass(frozen=True)
class StoredClaim:
    """What the last window of a volume came to.

    :ivar claim: None: the backup is exempt, it carries no claim
    """

    backup: str
    claim: claims.Claim | None

    def to_json(self) -> str:
        """Return it as text for the database."""
        return str(jsonutils.dumps({
            'version': VERSION, 'backup': self.backup,
            'claim': self.claim.to_json() if self.claim else EXEMPT}))

    @classmethod
    def from_json(cls, text: str) -> StoredClaim:
        """Read what this or another version wrote.

        :raises RecordUnreadable: what every version has is not there
        """
        try:
            values = jsonutils.loads(text)
            claim = values['claim']
            return cls(values['backup'], None if claim == EXEMPT
                       else claims.Claim.from_json(claim))
        except (AttributeError, KeyError, TypeError, ValueError,
                RecursionError) as error:
            raise exceptions.RecordUnreadable(
                f'the record of a claim, {text[:QUOTED]!r}, cannot be '
                f'read here: {error}') from error
