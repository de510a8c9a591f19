#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Tests that end: one that hangs fails, and says where it hung."""

import faulthandler

import fixtures
from oslotest import base

SECONDS = 300


class Limit(fixtures.Fixture):
    """A time limit.

    At the limit an exception is raised in the main thread. Where that cannot
    reach it, since the thread is blocked in C, or where cleaning up hangs as
    well, the process ends after as long again, and prints where each of its
    threads was.
    """

    def __init__(self, seconds: int = SECONDS) -> None:
        super().__init__()
        self._seconds = seconds

    def _setUp(self) -> None:
        faulthandler.dump_traceback_later(2 * self._seconds, exit=True)
        self.addCleanup(faulthandler.cancel_dump_traceback_later)
        self.useFixture(fixtures.Timeout(self._seconds, gentle=True))


class TestCase(base.BaseTestCase):
    """A test with a time limit, ``seconds``."""

    seconds = SECONDS

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(Limit(self.seconds))
