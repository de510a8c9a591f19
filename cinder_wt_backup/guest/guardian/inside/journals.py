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

"""Journals and logs that lie apart from their file systems."""

import os
import re
import typing

from cinder_wt_backup.guest.guardian.inside import blocks

INNER_JOURNAL = re.compile(r'(.+)-[0-9]+')
LOG_ELSEWHERE = ('logdev=', 'rtdev=')


def are_apart(ours: typing.Iterable[str], mounted: typing.Mapping[str, str],
              options: typing.Iterable[str], proc: str, sys: str) -> bool:
    """Whether one of ours lies elsewhere, or one of others is on ours.

    :param ours: names of our devices
    :param mounted: types of what is mounted from them, by device number
    :param options: of each XFS
    """
    inner, outer = set(), set()
    for name in blocks.names('%s/fs/jbd2' % proc):
        match = INNER_JOURNAL.fullmatch(name)
        if match and os.path.exists(
                '%s/class/block/%s' % (sys, match.group(1))):
            inner.add(match.group(1))
        else:
            outer.add(name)
    return bool(outer & set(ours)) or bool(outer) and any(
        _name_of(number, sys) not in inner
        for number, kind in mounted.items()
        if kind in ('ext3', 'ext4')) or any(
        option.startswith(LOG_ELSEWHERE)
        for each in options for option in each.split(','))


def _name_of(number: str, sys: str) -> str:
    """Return the name of the device with that number; empty: unknown."""
    try:
        return os.path.basename(os.readlink('%s/dev/block/%s' % (sys, number)))
    except OSError:
        return ''
