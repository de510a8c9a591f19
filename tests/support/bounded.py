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

from oslotest import base


class TestCase(base.BaseTestCase):
    """A test with a time limit.

    At the limit an exception is raised in the main thread. Where that cannot
    reach it, since the thread is blocked in C, the process ends a little
    later, and prints where each of its threads was.
    """

    DEFAULT_TIMEOUT = 300
    TIMEOUT_SCALING_FACTOR = 1

    def setUp(self) -> None:
        super().setUp()
        faulthandler.dump_traceback_later(self.DEFAULT_TIMEOUT + 30, exit=True)
        self.addCleanup(faulthandler.cancel_dump_traceback_later)
