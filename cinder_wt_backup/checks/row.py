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

"""What a check has found: success, warning or failure, with its remedy."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import enum

from cinder_wt_backup import exceptions
from cinder_wt_backup import plain


class Result(enum.IntEnum):
    """How a check ended; the worst one is the command's exit status."""

    SUCCESS = 0
    WARNING = 1         # backups work, but may achieve less
    FAILURE = 2         # backups cannot be consistent, or not at all

    def __str__(self) -> str:
        return self.name.lower()


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that was checked.

    :ivar subject: what was checked
    :ivar detail: what was found
    :ivar remedy: what to do about it; empty: nothing, or the detail says it
    """

    subject: str
    result: Result
    detail: str
    remedy: str = ''


def success(subject: str, detail: str) -> Row:
    """Return a row of something that is as it should be."""
    return _row(subject, Result.SUCCESS, detail)


def warning(subject: str, detail: str, remedy: str = '') -> Row:
    """Return a row of something that makes backups achieve less."""
    return _row(subject, Result.WARNING, detail, remedy)


def failure(subject: str, detail: str, remedy: str = '') -> Row:
    """Return a row of something without which nothing works."""
    return _row(subject, Result.FAILURE, detail, remedy)


def _row(subject: str, result: Result, detail: str, remedy: str = '') -> Row:
    # Text of a guest's, or of a tenant's, may be in it.
    return Row(plain.text(subject), result,
               plain.text(detail, plain.MAX_TEXT), remedy)


def guarded(subject: str, rows: Callable[[], Iterable[Row]],
            remedy: str) -> Iterator[Row]:
    """Yield what a check finds; whatever it raises is a failure.

    :param remedy: of an error that nobody foresaw there; ours name their own
    """
    try:
        yield from rows()
    except exceptions.WriteThroughError as error:
        yield failure(subject, text_of(error))
    except Exception as error:
        # Of whatever library: the other checks go on.
        yield failure(subject, text_of(error), remedy)


def text_of(error: Exception) -> str:
    """Return what an error says first: SQLAlchemy's go on with the query."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def worst(rows: Iterable[Row]) -> Result:
    """Return the worst result; of nothing at all: a failure."""
    return max((row.result for row in rows), default=Result.FAILURE)
