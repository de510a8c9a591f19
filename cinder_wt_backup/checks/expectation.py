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

"""What a backup of a guest's volume could claim now, and what keeps it lower.

Only asked for is what can be seen from here; what else the guardian finds in
the guest (:mod:`judgement`) may lower the claim.
"""

from __future__ import annotations

from cinder_wt_backup.checks import row
from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest import reach
from cinder_wt_backup.window import methods
from cinder_wt_backup.window.methods import base
from cinder_wt_backup.window.methods import freeze

# A window's name, where none is opened.
NO_TOKEN = '0' * 32


def row_of(subject: str, guest: reach.Guest, target: reach.Target,
           settings: conf.Settings, required: claims.Level) -> row.Row:
    """Return by which method it would be made, and why not by a better one.

    :param required: what it has to reach
    """
    whys: list[str] = []
    for name in settings.methods:
        method = methods.installed()[name]
        why = _objection(method, guest, target, settings)
        if not why:
            return _by_method(subject, name, method, guest, settings, required,
                              whys)
        whys.append(f'{name}: {why}')
    return row.failure(
        subject, 'a backup would be crash-consistent: '
        + ('; '.join(whys) or 'no methods are configured'))


def _objection(method: type[base.Method], guest: reach.Guest,
               target: reach.Target, settings: conf.Settings) -> str:
    """Return why a method cannot be used; empty: nothing speaks against it."""
    if method.runs_programs and target.no_exec:
        return 'the owner of the volume permits no programs in the guest'
    try:
        method(guest, NO_TOKEN, settings).check()
        if issubclass(method, freeze.Freeze):
            freeze.sort_by_freeze(guest.instance, guest.mounts())
    except exceptions.WriteThroughError as error:
        return str(error)
    return ''


def _by_method(subject: str, name: str, method: type[base.Method],
               guest: reach.Guest, settings: conf.Settings,
               required: claims.Level, whys: list[str]) -> row.Row:
    level = claims.Level.FILESYSTEM
    if not issubclass(method, freeze.Freeze):
        why = _no_barrier(guest, settings)
        if settings.barrier is conf.Barrier.NONE or why:
            level = claims.Level.WRITE_THROUGH
        whys += [f'barrier: {why}'] if why else []
    detail = f'a backup would be made by {name}, and be {level.value} at most'
    if level < required:
        return row.failure(subject, f'{detail}; it would fail, since '
                           f'{required.value} is required'
                           + ''.join(f'; {why}' for why in whys),
                           'see required_level, and wt:policy in the '
                           'volume\'s metadata')
    if whys:
        return row.warning(subject, f'{detail}; {"; ".join(whys)}')
    return row.success(subject, detail)


def _no_barrier(guest: reach.Guest, settings: conf.Settings) -> str:
    """Return why a freeze cannot be put on top; empty: none is wanted."""
    if settings.barrier is conf.Barrier.NONE:
        return ''
    try:
        guest.require(agent.FREEZE, agent.FREEZE_STATUS, agent.THAW)
    except exceptions.WriteThroughError as error:
        return str(error)
    return ''
