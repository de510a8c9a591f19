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

import logging

from cinder_wt_backup import exceptions
from cinder_wt_backup import plain
from tests.unit import base

# What somebody says, and what becomes of it.
SAID = (
    ('all is well', 'all is well'),
    ('a\nb', 'a b'), ('a\r\n\t b\n', 'a b'),
    ('a\u2028b\u0085c', 'a b c'),
    ('\x1b[31mred', '?[31mred'), ('\x9b2J', '?2J'),
    ('a\x00b\x7f', 'a?b?'),
    # It turns what follows around.
    ('a\u202eb', 'a?b'), ('a\u2066b', 'a?b'),
    # They are not seen.
    ('a\u200bb', 'a?b'), ('a\u3164b', 'a?b'), ('a\ufe0fb', 'a?b'),
    ('a\U000e0041b', 'a?b'), ('a\U000e0100b', 'a?b'),
    ('\ud800', '?'),
    # A libvirt in another language.
    ('Domain wurde geändert', 'Domain wurde geändert'),
    ('域未找到', '域未找到'))


class TextTest(base.TestCase):

    def test_it_is_one_line_that_is_all_seen(self) -> None:
        for said, told in SAID:
            self.assertEqual(told, plain.text(said))
            self.assertEqual(told, str(exceptions.WriteThroughError(said)))

    def test_it_is_bounded(self) -> None:
        for said in ('x' * 10 ** 7, '\n' * 10 ** 7, 'x \n' * 10 ** 6):
            self.assertLessEqual(len(plain.text(said)), plain.MAX_QUOTED)

    def test_an_error_is_its_text(self) -> None:
        self.assertEqual('no luck', plain.text(ValueError('no luck')))


class ErrorTest(base.TestCase):

    def test_a_log_has_where_it_arose_and_what_was_below(self) -> None:
        def arises() -> None:
            try:
                raise OSError('below\n\x1b[31m')
            except OSError as error:
                raise ValueError('above\n\x1b[31m') from error
        try:
            arises()
        except ValueError as error:
            told = logging.Formatter().formatException(
                (plain.Unforeseen, plain.error(error), None))
        self.assertIn('Unforeseen: OSError: below ?[31m\n', told)
        self.assertIn('Unforeseen: ValueError: above ?[31m', told)
        self.assertIn('in arises', told)
        self.assertNotIn('\x1b', told)
