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

"""A JSON object of a guest's, whose fields are taken one by one, checked."""

from __future__ import annotations

from collections.abc import Collection
import re
from typing import TypeVar

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.guardian.inside import protocol

MAX_NUMBER = (1 << 53) - 1
TEXT = re.compile(r'.{0,1024}', re.DOTALL)
MAX_SEVERAL = 256
_Word = TypeVar('_Word', bound=protocol.Word)


class Fields:
    """A JSON object; whatever is not as it should be is a GuardianError.

    :param names: the fields that it has, no more and no less
    """

    def __init__(self, value: object, names: Collection[str]) -> None:
        if not isinstance(value, dict) or set(value) != set(names):
            raise refused('its fields')
        self._value = value

    def number(self, name: str) -> int:
        """Return a count; no negative one."""
        value = self._value[name]
        if type(value) is not int or not 0 <= value <= MAX_NUMBER:
            raise refused(name)
        return value

    def flag(self, name: str) -> bool:
        """Return what is true or false."""
        value = self._value[name]
        if not isinstance(value, bool):
            raise refused(name)
        return value

    def text(self, name: str, pattern: re.Pattern[str] = TEXT) -> str:
        """Return a text of which all matches a pattern."""
        return text_of(self._value[name], name, pattern)

    def word(self, name: str, words: type[_Word]) -> _Word:
        """Return one of some words."""
        return _word(self._value[name], name, words)

    def several(self, name: str, most: int = MAX_SEVERAL) -> list[object]:
        """Return a list that is not too long, of whatever."""
        value = self._value[name]
        if not isinstance(value, list) or len(value) > most:
            raise refused(name)
        return value

    def words(self, name: str, words: type[_Word]) -> frozenset[_Word]:
        """Return several of some words."""
        return frozenset(_word(each, name, words)
                         for each in self.several(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return several texts."""
        return tuple(text_of(each, name) for each in self.several(name))

    def pairs(self, name: str, key: re.Pattern[str],
              value: re.Pattern[str]) -> dict[str, str]:
        """Return texts by name."""
        found = self._value[name]
        if not isinstance(found, dict) or len(found) > MAX_SEVERAL:
            raise refused(name)
        return {text_of(each, name, key): text_of(text, name, value)
                for each, text in found.items()}


def text_of(value: object, name: str, pattern: re.Pattern[str] = TEXT) -> str:
    """Return a text of which all matches a pattern."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise refused(name)
    return value


def _word(value: object, name: str, words: type[_Word]) -> _Word:
    try:
        return words(value)
    except ValueError as error:
        raise refused(name) from error


def refused(what: str) -> exceptions.GuardianError:
    """Return the error for something that no guardian says."""
    return exceptions.GuardianError(
        f'the guardian\'s report is none: {what} cannot be')
