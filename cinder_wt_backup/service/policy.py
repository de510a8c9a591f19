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

"""What a backup must reach: the operator's wish, and the volume owner's."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses

from oslo_log import log as logging

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions

LOG = logging.getLogger(__name__)

KEY = 'wt:policy'
NO_EXEC = 'no-exec'


@dataclasses.dataclass(frozen=True)
class Policy:
    """What one backup must reach, and whether it may touch a guest at all."""

    required: claims.Level
    off: bool = False

    def refuse(self, claim: claims.Claim) -> str | None:
        """Return why a backup with this claim has to fail, if it has."""
        if claim.level >= self.required:
            return None
        return (f'the backup reached {claim.level.value}, but '
                f'{self.required.value} is required: {claim.reason}')


def read(metadata: Mapping[str, str] | None, required: claims.Level) -> Policy:
    """Return the policy that a volume's metadata says.

    :param metadata: the volume's own, where ``wt:policy`` may say ``off``, or
        ``require=LEVEL``, or ``no-exec``, or these two with a comma; of the
        level and the operator's the higher counts
    :param required: the operator's required_level
    :raises PolicyError: wt:policy says something else
    """
    text = (metadata or {}).get(KEY, '').strip()
    words = _words(metadata)
    wish = ','.join(word for word in words if word != NO_EXEC)
    if not wish:
        return Policy(required)
    if wish == 'off':
        if required > claims.Level.CRASH:
            LOG.warning('The volume\'s %(key)s = off is ignored: the operator '
                        'requires %(level)s.',
                        {'key': KEY, 'level': required.value})
            return Policy(required)
        return Policy(required, off=True)
    verb, _, level = wish.partition('=')
    try:
        if verb.strip() == 'require':
            return Policy(max(required, claims.Level(level.strip())))
    except ValueError:
        pass
    raise exceptions.PolicyError(
        f'the volume\'s metadata {KEY} = {text[:100]!r} is not "off", '
        f'"{NO_EXEC}" or "require=LEVEL" with one of '
        f'{", ".join(known.value for known in claims.Level)}')


def forbids_programs(metadata: Mapping[str, str] | None) -> bool:
    """Whether a volume's owner permits no programs in his guest."""
    return NO_EXEC in _words(metadata)


def _words(metadata: Mapping[str, str] | None) -> list[str]:
    text = (metadata or {}).get(KEY, '')
    return [word.strip() for word in text.split(',')] if text.strip() else []
