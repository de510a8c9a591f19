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

"""What is told to the host: each file system, and what is mounted."""

import typing

from cinder_wt_backup.guest.guardian.inside import channel
from cinder_wt_backup.guest.guardian.inside import look
from cinder_wt_backup.guest.guardian.inside import options
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian.inside import team

State = protocol.State
Mounts = typing.List[typing.List[str]]


def mounts_of(seen: typing.Optional[look.Seen]) -> Mounts:
    """Return device, type and point of each file system seen."""
    return [[each.device, each.type, each.point]
            for each in (seen.filesystems if seen else [])]


def at_start(each: team.Member) -> channel.Message:
    """Return what a report of a start says of one file system."""
    facts = each.facts
    state = facts.get('state', State.UNKNOWN)
    if each.errors.get('prepare') == 'hidden':
        state = State.HIDDEN
    return {'device': each.record.device, 'type': each.record.type,
            'state': State.UNKNOWN if each.busy else state,
            'point': facts.get('point', each.seen.point),
            'own': bool(facts.get('own')), 'depth': each.seen.depth,
            'barrier': options.has_barrier(
                each.record.options or each.seen.options.split(',')),
            'flush': facts.get('flush', protocol.Flush.NONE),
            'pulse': facts.get('pulse', protocol.Pulse.NONE),
            'changed': facts.get('changed', []),
            'errors': each.errors}


def at_end(each: team.Member) -> channel.Message:
    """Return what a report of a release says of one file system."""
    return {'device': each.record.device, 'type': each.record.type,
            'was': each.facts.get('was', State.UNKNOWN),
            'own': bool(each.facts.get('own')),
            'point': each.facts.get('point', ''),
            'changed': each.facts.get('changed', []),
            'undo': each.verdict(), 'thawed': each.thawed}
