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

"""A claim as the properties of a backup, which users read."""

from __future__ import annotations

from collections.abc import Mapping

from cinder_wt_backup.claims import claim as claims

PREFIX = 'wt:'
# Cinder keeps the values of metadata in columns of this width.
WIDTH = 255


def of_claim(claim: claims.Claim) -> dict[str, str]:
    """Return a claim as properties: ASCII, bounded, ``wt:`` keys."""
    values = {
        'level': claim.level.value,
        'method': claim.method,
        'window_ms': str(claim.window_ms),
        'freeze_ms': str(claim.freeze_ms or ''),
        'filesystems': ','.join(f'{kind}={number}' for kind, number
                                in sorted(claim.filesystems.items())),
        'verified': claim.verified,
        'reason': claim.reason}
    return {PREFIX + key: _bounded(text)
            for key, text in values.items() if text}


def without_claim(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return a user's properties less what only we may write."""
    return {key: value for key, value in (metadata or {}).items()
            if not key.startswith(PREFIX)}


def _bounded(text: str) -> str:
    return text if len(text) <= WIDTH else text[:WIDTH - 3] + '...'
