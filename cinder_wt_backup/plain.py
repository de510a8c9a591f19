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

"""Text of others that leaves us: plain, on one line, bounded.

What libvirt, a guest's agent or a library says may hold what a guest or a user
wrote. It gets into logs, into a backup's metadata and from there onto
terminals, where a new line forges an entry, an escape sequence moves the
cursor, and a character that is not seen, or that turns the direction of
writing, hides something. Every error of this package and every claim is made
of such text alone; a log line that has another's error in it asks here too.
"""

from __future__ import annotations

import re

# Characters of what somebody else says, and of what we say with that in it.
MAX_QUOTED = 500
MAX_TEXT = 2000
# Letters and marks that are not seen; str.isprintable has them printable.
_UNSEEN = re.compile('[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164'
                     '\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]')


class Unforeseen(Exception):
    """Stands in a log for the error of a library: its kind and its text."""


def text(value: object, most: int = MAX_QUOTED) -> str:
    """Return what somebody said, fit to be read anywhere.

    :param most: characters; what is longer is cut
    """
    said = str(value)[:8 * most]
    words = ' '.join(_UNSEEN.sub('?', said).split())
    line = ''.join(character if character.isprintable() else '?'
                   for character in words)
    return line if len(line) <= most else line[:most - 3] + '...'


def error(raised: BaseException) -> Unforeseen:
    """Return an error for a log's ``exc_info``: where it arose is kept."""
    found = Unforeseen(text(f'{type(raised).__name__}: {raised}', MAX_TEXT))
    below = raised.__cause__ or (
        None if raised.__suppress_context__ else raised.__context__)
    if below is not None:
        found.__cause__ = error(below)
    return found.with_traceback(raised.__traceback__)
