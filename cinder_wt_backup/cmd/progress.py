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

"""What a command is at, for who waits before a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import sys
import time
from typing import TypeVar

# Seconds before anything is shown, and between two times.
PAUSE = 2.0
_Item = TypeVar('_Item')


def shown(items: Iterable[_Item], what: str) -> Iterator[_Item]:
    """Yield items, and show on a terminal how many there were so far.

    :param what: they are, in the plural
    """
    last, number, told = time.monotonic(), 0, False
    for number, item in enumerate(items, 1):
        if sys.stderr.isatty() and time.monotonic() - last >= PAUSE:
            last, told = time.monotonic(), True
            print(f'\r{number} {what} ...', end='', file=sys.stderr,
                  flush=True)
        yield item
    if told:
        print(f'\r{number} {what}.   ', file=sys.stderr)
