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


import re
from typing import Any

import ddt

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.guardian import fields
from cinder_wt_backup.guest.guardian.inside import protocol
from tests.unit import base

WORD = re.compile('[a-z]{1,4}')


class Letter(protocol.Word):

    A = 'a'
    B = 'b'


@ddt.ddt
class FieldsTest(base.TestCase):

    def of(self, value: Any) -> fields.Fields:
        return fields.Fields({'it': value}, {'it'})

    def refused(self, call: Any, *arguments: Any) -> None:
        error = self.assertRaises(exceptions.GuardianError, call, *arguments)
        self.assertIn('the guardian\'s report is none', str(error))

    @ddt.data(None, 1, 'it', ['it'], {}, {'it': 1}, {'that': 1},
              {'it': 1, 'that': 1, 'more': 1})
    def test_no_more_and_no_fewer_than_it_has(self, value: Any) -> None:
        self.refused(fields.Fields, value, {'it', 'that'})

    @ddt.data(0, 1, (1 << 53) - 1)
    def test_a_number(self, value: int) -> None:
        self.assertEqual(value, self.of(value).number('it'))

    @ddt.data(-1, 1 << 53, 1.0, True, '1', None, [1], float('nan'))
    def test_what_is_no_number(self, value: Any) -> None:
        self.refused(self.of(value).number, 'it')

    @ddt.data(True, False)
    def test_a_flag(self, value: bool) -> None:
        self.assertIs(value, self.of(value).flag('it'))

    @ddt.data(0, 1, 'true', None, [])
    def test_what_is_no_flag(self, value: Any) -> None:
        self.refused(self.of(value).flag, 'it')

    @ddt.data('', 'x' * 1024, 'two\nlines', '\ud800')
    def test_a_text(self, value: str) -> None:
        self.assertEqual(value, self.of(value).text('it'))

    @ddt.data('x' * 1025, None, 1, [], b'x')
    def test_what_is_no_text(self, value: Any) -> None:
        self.refused(self.of(value).text, 'it')

    @ddt.data('', 'words', 'A', 'a\n', ' a', 'a b')
    def test_all_of_a_text_is_as_it_must_be(self, value: str) -> None:
        self.refused(self.of(value).text, 'it', WORD)

    def test_a_word(self) -> None:
        self.assertIs(Letter.A, self.of('a').word('it', Letter))

    @ddt.data('c', 'A', '', None, ['a'], {}, 1)
    def test_what_is_no_word(self, value: Any) -> None:
        self.refused(self.of(value).word, 'it', Letter)

    def test_several_are_not_too_many(self) -> None:
        self.assertEqual([1] * 256, self.of([1] * 256).several('it'))
        self.refused(self.of([1] * 257).several, 'it')
        self.refused(self.of([1] * 3).several, 'it', 2)

    @ddt.data(None, 'ab', {'a': 1}, 2)
    def test_what_is_no_list(self, value: Any) -> None:
        self.refused(self.of(value).several, 'it')

    def test_words_count_once(self) -> None:
        self.assertEqual(frozenset('ab'), self.of(['a', 'b', 'a']).words(
            'it', Letter))

    @ddt.data(['a', 'd'], [None], [['a']], [{}], 'a')
    def test_what_are_no_words(self, value: Any) -> None:
        self.refused(self.of(value).words, 'it', Letter)

    def test_texts_keep_their_order(self) -> None:
        self.assertEqual(('b', 'a', 'b'), self.of(['b', 'a', 'b']).texts('it'))

    @ddt.data(['a', 1], ['x' * 1025], [None], 'a')
    def test_what_are_no_texts(self, value: Any) -> None:
        self.refused(self.of(value).texts, 'it')

    def test_pairs(self) -> None:
        self.assertEqual({'a': 'bb'}, self.of({'a': 'bb'}).pairs(
            'it', WORD, WORD))

    @ddt.data({'a': 1}, {'a': 'too long'}, {'A': 'b'}, {'': 'b'},
              [['a', 'b']], None, {'a': {}},
              {f'{n:04}'.translate(str.maketrans('0123456789', 'abcdefghij')):
               'a' for n in range(257)})
    def test_what_are_no_pairs(self, value: Any) -> None:
        self.refused(self.of(value).pairs, 'it', WORD, WORD)
