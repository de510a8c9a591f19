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

"""What a backup may honestly say of itself."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import enum
import functools

from oslo_serialization import jsonutils

from cinder_wt_backup import plain

# Characters of a reason, and kinds of file systems; both may quote a guest.
MAX_REASON, MAX_KINDS = 1000, 16
OTHER = 'other'


@functools.total_ordering
class Level(enum.Enum):
    """Claims, lowest first; what each means is in the README."""

    CRASH = 'crash'
    FLUSHED = 'flushed'
    WRITE_THROUGH = 'write-through'
    FILESYSTEM = 'filesystem'

    def __lt__(self, other: Level) -> bool:
        order = list(Level)
        return order.index(self) < order.index(other)


@dataclasses.dataclass(frozen=True)
class Claim:
    """What was achieved for one backup, or for one of its guests.

    It has one form from the guest to the backup's metadata: text of others is
    made plain, and bounded, when a claim is made.

    :ivar level: the claim
    :ivar reason: why it is not higher, for an operator; empty at the top
    :ivar method: how: ``write_through``, ``freeze``, both with a plus, or
        ``none``
    :ivar filesystems: how many of each type were made consistent
    :ivar beneath: the level that holds even if a freeze did not
    :ivar window_ms: how long the window was open, milliseconds
    :ivar freeze_ms: how long a guest was frozen, milliseconds
    :ivar verified: what the point in time itself shows, a value of
        :class:`cinder_wt_backup.ondisk.State`; empty: nobody looked
    """

    level: Level
    reason: str = ''
    method: str = 'none'
    filesystems: Mapping[str, int] = dataclasses.field(default_factory=dict)
    beneath: Level | None = None
    window_ms: int = 0
    freeze_ms: int = 0
    verified: str = ''

    def __post_init__(self) -> None:
        # A reason may quote a library, and goes to logs and users' terminals.
        text = plain.text(self.reason, MAX_REASON)
        object.__setattr__(self, 'reason',
                           text.encode('ascii', 'replace').decode())
        object.__setattr__(self, 'filesystems', _bounded(self.filesystems))

    def lowered(self, level: Level, reason: str) -> Claim:
        """Return this claim with a level of ``level`` at the most."""
        if self.level <= level:
            return self
        return dataclasses.replace(
            self, level=level, reason=reason,
            beneath=None if self.beneath is None
            else min(self.beneath, level))

    def without_freeze(self, reason: str) -> Claim:
        """Return what is left of it if its freeze did not hold.

        Where that was not said, a freeze that ended has flushed.
        """
        return self.lowered(Level.FLUSHED if self.beneath is None
                            else self.beneath, reason)

    def with_remark(self, remark: str) -> Claim:
        """Return it with a remark that does not change the level."""
        return dataclasses.replace(self, reason='; '.join(
            text for text in (self.reason, remark) if text))

    def with_freeze(self, milliseconds: int) -> Claim:
        """Return it as of a method that was topped by a freeze."""
        return dataclasses.replace(self, method=f'{self.method}+freeze',
                                   freeze_ms=milliseconds)

    def to_json(self) -> str:
        """Return it as text for a database: ASCII."""
        return str(jsonutils.dumps({
            **dataclasses.asdict(self), 'level': self.level.value,
            'beneath': self.beneath and self.beneath.value}))

    @classmethod
    def from_json(cls, text: str) -> Claim:
        """Read what :meth:`to_json` wrote; keys that are not known are left.

        :raises KeyError, TypeError, ValueError: it is not that
        """
        values = jsonutils.loads(text)
        known = {field.name for field in dataclasses.fields(cls)}
        found = {key: value for key, value in values.items() if key in known}
        beneath = found.get('beneath')
        return cls(**{**found, 'level': Level(found['level']),
                      'beneath': None if beneath is None else Level(beneath)})


def worst(parts: Iterable[Claim]) -> Claim:
    """Return the claim of a volume that is attached to several guests.

    The lowest level counts, with its reason and method; the file systems
    add up and the times are the longest.
    """
    parts = list(parts)
    filesystems: collections.Counter[str] = collections.Counter()
    for part in parts:
        filesystems.update(part.filesystems)
    return dataclasses.replace(
        min(parts, key=lambda part: part.level),
        filesystems=dict(filesystems),
        beneath=min((part.beneath or part.level for part in parts),
                    default=None),
        window_ms=max(part.window_ms for part in parts),
        freeze_ms=max(part.freeze_ms for part in parts))


def _bounded(filesystems: Mapping[str, int]) -> dict[str, int]:
    """Return the numbers by kind; of too many kinds the rest together."""
    kinds = sorted(filesystems)
    if len(kinds) <= MAX_KINDS:
        return {kind: filesystems[kind] for kind in kinds}
    kept = {kind: filesystems[kind] for kind in kinds[:MAX_KINDS - 1]}
    rest = sum(filesystems[kind] for kind in kinds[MAX_KINDS - 1:])
    return {**kept, OTHER: kept.get(OTHER, 0) + rest}
