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

"""When something has to be over, whatever each step of it may take."""

from __future__ import annotations

import math
import time

from cinder_wt_backup import exceptions


class Deadline:
    """The end of what may take so long in all, and of each call in it.

    :param seconds: from now
    :param about: what it is about: ``instance X to be consistent``
    """

    def __init__(self, seconds: float = math.inf, about: str = '') -> None:
        self._seconds, self._about = seconds, about
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then; 0: it has passed."""
        return max(0.0, self._end - time.monotonic())

    def limit(self, most: float) -> float:
        """Return how many seconds a call may take that may take ``most``.

        :raises TooLate: it has passed: nothing is to be begun any more
        """
        left = self.left
        if not left:
            raise exceptions.TooLate(
                f'there were {self._seconds:.0f} s for {self._about}, and '
                f'they were not enough')
        return min(most, left)


NEVER = Deadline()
