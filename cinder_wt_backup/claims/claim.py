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

"""What a backup can honestly claim, and how it is written down."""

import collections
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import enum
import functools

from cinder_wt_backup import plain

PREFIX = 'wt:'
# Cinder keeps metadata values in columns of this width.
WIDTH = 255


@functools.total_ordering
class Level(enum.Enum):
    """Claims, lowest first; what each means is in the README."""

    CRASH = 'crash'
    FLUSHED = 'flushed'
    WRITE_THROUGH = 'write-through'
    FILESYSTEM = 'filesystem'

    def __lt__(self, other: 'Level') -> bool:
        order = list(Level)
        return order.index(self) < order.index(other)


@dataclasses.dataclass(frozen=True)
class Claim:
    """What was achieved for one backup, or for one of its guests.

    :ivar level: the claim
    :ivar reason: why it is not higher, for an operator; empty at the top
    :ivar method: how: ``write_through``, ``freeze``, both with a plus, or
        ``none``
    :ivar filesystems: how many of each type were made consistent
    :ivar window_ms: how long the window was open, milliseconds
    :ivar freeze_ms: how long a guest was frozen, milliseconds
    :ivar verified: what the point in time itself shows, a value of
        :class:`cinder_wt_backup.ondisk.State`; empty: nobody looked
    """

    level: Level
    reason: str = ''
    method: str = 'none'
    filesystems: Mapping[str, int] = dataclasses.field(default_factory=dict)
    window_ms: int = 0
    freeze_ms: int = 0
    verified: str = ''

    def __post_init__(self) -> None:
        # A reason may quote a library, and goes to logs and users' terminals.
        object.__setattr__(self, 'reason',
                           plain.text(self.reason, plain.MAX_TEXT))

    def lowered(self, level: Level, reason: str) -> 'Claim':
        """Return this evidence with a claim of ``level`` at the most."""
        if self.level <= level:
            return self
        return dataclasses.replace(self, level=level, reason=reason)

    def with_remark(self, remark: str) -> 'Claim':
        """Return it with a remark that does not change the claim."""
        return dataclasses.replace(self, reason='; '.join(
            text for text in (self.reason, remark) if text))

    def with_freeze(self, milliseconds: int) -> 'Claim':
        """Return it as of a method that was topped by a freeze."""
        return dataclasses.replace(self, method=f'{self.method}+freeze',
                                   freeze_ms=milliseconds)

    def as_metadata(self) -> dict[str, str]:
        """Return it as a backup's metadata: ASCII, bounded, ``wt:`` keys."""
        values = {
            'level': self.level.value,
            'method': self.method,
            'window_ms': str(self.window_ms),
        }
        if self.freeze_ms:
            values['freeze_ms'] = str(self.freeze_ms)
        if self.filesystems:
            values['filesystems'] = ','.join(
                f'{kind}={number}' for kind, number
                in sorted(self.filesystems.items()))
        if self.verified:
            values['verified'] = self.verified
        if self.reason:
            values['reason'] = self.reason
        return {PREFIX + key: _bounded(text) for key, text in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> 'Claim':
        """Read what :meth:`as_metadata` wrote.

        :raises KeyError, ValueError: it is not that
        """
        def get(key: str, default: str = '') -> str:
            return metadata.get(PREFIX + key, default)

        pairs = [pair.partition('=') for pair
                 in get('filesystems').split(',') if pair]
        return cls(level=Level(metadata[PREFIX + 'level']),
                   reason=get('reason'),
                   method=get('method', 'none'),
                   filesystems={kind: int(number)
                                for kind, _, number in pairs
                                if number.isdigit()},     # else cut short
                   window_ms=int(get('window_ms', '0')),
                   freeze_ms=int(get('freeze_ms', '0')),
                   verified=get('verified'))


def worst(parts: Iterable[Claim]) -> Claim:
    """Return the evidence of a volume that is attached to several guests.

    The lowest claim counts, with its reason and method; the file systems
    add up and the times are the longest.
    """
    parts = list(parts)
    filesystems: collections.Counter[str] = collections.Counter()
    for part in parts:
        filesystems.update(part.filesystems)
    return dataclasses.replace(
        min(parts, key=lambda part: part.level),
        filesystems=dict(filesystems),
        window_ms=max(part.window_ms for part in parts),
        freeze_ms=max(part.freeze_ms for part in parts))


def without(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return a user's metadata less what only we may write."""
    return {key: value for key, value in (metadata or {}).items()
            if not key.startswith(PREFIX)}


def _bounded(text: str) -> str:
    plain = text.encode('ascii', 'replace').decode()
    return plain if len(plain) <= WIDTH else plain[:WIDTH - 3] + '...'
