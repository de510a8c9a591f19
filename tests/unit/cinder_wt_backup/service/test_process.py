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

import types

import fixtures

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import blocking
from cinder_wt_backup.service import process
from tests.unit import base


class AdaptTest(base.TestCase):

    def utils(self, **has: object) -> None:
        """Have a Cinder whose utils have nothing but this."""
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.service.process.utils',
            types.SimpleNamespace(**has)))

    def test_cinders_own_wrapper_is_used(self) -> None:
        self.utils(tpool_wrap=len, tpool=types.SimpleNamespace(Proxy=max))
        process.adapt()
        self.assertIs(len, blocking.off_the_loop)

    def test_that_of_an_earlier_cinder_is_too(self) -> None:
        self.utils(tpool=types.SimpleNamespace(Proxy=max))
        process.adapt()
        self.assertIs(max, blocking.off_the_loop)

    def test_a_cinder_with_neither_is_refused(self) -> None:
        self.utils()
        error = self.assertRaises(exceptions.ConfigurationError,
                                  process.adapt)
        self.assertIn('tpool_wrap', str(error))
