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

"""What the host and the program in the guest say to each other.

The host imports this too: statuses and names are the same on both sides.
"""

import enum
import typing

VERSION = 1


class Status(enum.IntEnum):
    """How a command ended; the report on standard output says more.

    Statuses that are not here (a signal, 126) come from a shell or an
    interpreter and mean nothing: such an end is not "it was not changed".
    """

    DONE = 0            # with a whole report
    NOT_STARTED = 1     # systemd-run or the interpreter, before any of this
    LAPSED = 3          # nothing is on record for that token: it was undone
    BUSY = 4            # another window has the lock
    NO_DISK = 5         # no disk with that serial
    NO_LEASE = 6        # the supervisor could not leave the agent's group
    UNABLE = 7          # this guest lacks what is needed; reason says what
    STUCK = 8           # not everything could be undone; it is tried again
    UNKNOWN = 9         # an error that nobody foresaw: release, and ask again
    NO_PYTHON = 10      # flushed by sync, nothing else done
    REFUSED = 12        # the request is not one of this version


# Of start: nothing was changed, for sure.
UNCHANGED = frozenset({
    Status.NOT_STARTED, Status.BUSY, Status.NO_DISK, Status.NO_LEASE,
    Status.UNABLE, Status.NO_PYTHON, Status.REFUSED})


class Word(str, enum.Enum):
    """One of a few words, which is its text also in JSON, sets and formats.

    What comes out of JSON is a plain text: it is equal to its word, and has
    the same hash, so that a set holds only one of the two.
    """

    __hash__ = str.__hash__

    def __str__(self) -> str:
        # Before Python 3.8 enum puts its own in the place of str's.
        return str.__str__(self)


class State(Word):
    """What a file system is seen to be, at the end of a start or release."""

    FLAGGED = 'flagged'         # synchronous by us, and seen to be so
    SYNC = 'sync'               # synchronous, but not by us
    READ_ONLY = 'ro'
    WRITABLE = 'rw'             # not synchronous
    HIDDEN = 'hidden'           # no path leads to it
    GONE = 'gone'               # not mounted any more, or another one
    UNKNOWN = 'unknown'         # a call that did not return


class Undo(Word):
    """What became of a file system on record."""

    UNDONE = 'undone'           # the flag was taken away, and seen to be gone
    ABSENT = 'absent'           # there was no flag
    OTHER = 'other'             # the superblock is gone or another one
    FROZEN = 'frozen'           # somebody froze it: stuck
    STUCK = 'stuck'             # it lives, but could not be undone
    UNKNOWN = 'unknown'         # a call on it has not returned


# Nothing of ours is left.
SAFE = (Undo.UNDONE, Undo.ABSENT, Undo.OTHER)


class Flush(Word):
    """Whether what was dirty in it was written."""

    NONE = 'none'
    DONE = 'done'


class Pulse(Word):
    """Whether writers in progress were drained by a freeze and thaw."""

    NONE = 'none'               # not needed or not asked for
    DONE = 'done'
    BUSY = 'busy'               # frozen by somebody else
    FAILED = 'failed'
    LATE = 'late'               # still at it; thawed as soon as it is


class Remark(Word):
    """What was seen, and may hold data away from what is flagged."""

    CONTAINER = 'container'     # not the first pid namespace
    UNSEEN = 'unseen'           # not everything could be looked at
    SPANS = 'spans'             # it lies on other disks too
    HELD = 'held'               # device-mapper or md is on it
    CACHE = 'cache'             # a cache or a log lies on another disk
    JOURNAL = 'journal'         # a journal and its file system lie apart
    SWAP = 'swap'
    RAW = 'raw'                 # a device is used without a file system
    LOOP = 'loop'               # file systems in files of the volume's
    KERNEL = 'kernel'           # exported by the kernel itself
    LATE = 'late'               # the drain was cut short
    UNFLUSHED = 'unflushed'     # a flush of something without a path failed


class PulseWish(Word):
    """When a start makes a pulse."""

    NEVER = 'never'             # a barrier drains the writers
    NEEDED = 'needed'           # before Linux 6.0
    ALWAYS = 'always'


class BarrierWish(Word):
    """When a freeze by the agent is to be expected after a start."""

    NEVER = 'never'
    UNFLAGGED = 'unflagged'     # where something writable has no flag
    ALWAYS = 'always'


# Fields of a request and their types: all of them are sent, and no other.
# Numbers are seconds. ``limit``: for the answer.
CALL = {'version': int, 'token': str, 'limit': int}
# ``freeze``: after its report, until a freeze that is expected is over.
START = dict(CALL, volume=str, address=str, lease=int, drain=int, freeze=int,
             barrier=str, pulse=str)
COMMANDS = {'start': START, 'release': CALL, 'thawed': CALL}
# What texts must match, whole.
TEXTS = dict((('token', r'[0-9a-f]{8,64}'), ('volume', r'[0-9a-f-]{36}'),
              ('address', r'[0-9a-fA-F:.]{0,32}'),
              ('barrier', '|'.join(BarrierWish)),
              ('pulse', '|'.join(PulseWish))))
MAX_SECONDS = 86400
MAX_REQUEST = 4096
MAX_REPORT = 4 << 20
MAX_FILESYSTEMS = 64            # each has a worker with 3 MiB of memory


def report_of(status: Status, token: str, reason: str = ''
              ) -> typing.Dict[str, typing.Any]:
    """Return a report that says nothing of file systems."""
    return {'version': VERSION, 'status': int(status), 'token': token,
            'reason': reason}
