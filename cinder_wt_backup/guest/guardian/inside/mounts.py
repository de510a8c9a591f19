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

"""The mounts of a namespace, as its mountinfo shows them, in bytes."""

import os
import re
import time
import typing

PIECE = 1 << 16
MAX_BYTES = 1 << 28             # a million mounts; more is not looked at
NEVER = float('inf')
ESCAPE = re.compile(rb'\\([0-3][0-7]{2})')
NUMBER = re.compile(rb'[0-9]{1,10}')
DEVICE = re.compile(rb'[0-9]{1,6}:[0-9]{1,8}')
FEWEST_BLANKS = 9               # of a line

Mount = typing.NamedTuple('Mount', [
    ('id', int), ('parent', int), ('device', str), ('root', bytes),
    ('point', bytes), ('options', str), ('type', str), ('source', bytes),
    ('super_options', str)])
Wanted = typing.Callable[[Mount], bool]


class UnsettledError(OSError):
    """Mounts changed at every reading."""


def parse(line: bytes) -> typing.Optional[Mount]:
    """Read one line; None: the kernel does not write such a line."""
    fields = line.split(b' ')
    try:
        dash = fields.index(b'-', 6)
        number, parent, device, root, point, options = fields[:6]
        kind, source, super_options = fields[dash + 1:dash + 4]
    except ValueError:
        return None
    if not (NUMBER.fullmatch(number) and NUMBER.fullmatch(parent)
            and DEVICE.fullmatch(device) and point.startswith(b'/')):
        return None
    return Mount(int(number), int(parent), device.decode('ascii'),
                 unescape(root), unescape(point), _text(options), _text(kind),
                 unescape(source), _text(super_options))


def unescape(field: bytes) -> bytes:
    """Undo the octal escapes of blanks and the like."""
    return ESCAPE.sub(lambda match: bytes([int(match.group(1), 8)]), field)


def _text(field: bytes) -> str:
    return field.decode('ascii', 'backslashreplace')


def _lines(path: str, end: float) -> typing.Iterator[bytes]:
    """Yield the lines of a file that is read in pieces of one size.

    Mounts that are stacked on each other, as any user can stack them in a
    namespace of his own, cost the kernel time by the square of their number.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        rest, total = b'', 0
        while total < MAX_BYTES:
            piece = os.read(descriptor, PIECE)
            if not piece:
                break
            if time.monotonic() > end:
                raise TimeoutError('too many mounts')
            total += len(piece)
            lines = (rest + piece).split(b'\n')
            rest = lines.pop()
            yield from lines
    finally:
        os.close(descriptor)
    if rest or total >= MAX_BYTES:
        raise UnsettledError('mountinfo ends in the middle of a line')


def read_once(path: str, wanted: Wanted, end: float = NEVER,
              having: bytes = b'') -> typing.List[Mount]:
    """Return the mounts that are wanted.

    :param end: of the monotonic clock; then it is given up
    :param having: what is in each line of theirs: others, of which there may
        be many, are only seen to be lines
    :raises OSError: a line is none, or it could not be read
    """
    found = []
    for line in _lines(path, end):
        if (having not in line and b' - ' in line
                and line.count(b' ') >= FEWEST_BLANKS):
            continue
        mount = parse(line)
        if mount is None:
            raise UnsettledError('mountinfo has a line that is none')
        if wanted(mount):
            found.append(mount)
    return found


def read(path: str, wanted: Wanted, end: float = NEVER, having: bytes = b''
         ) -> typing.List[Mount]:
    """Return the mounts that are wanted, when two readings agree on them.

    A list of mounts that change meanwhile can lack one that is there.
    """
    before = read_once(path, wanted, end, having)
    for _ in range(10):
        after = read_once(path, wanted, end, having)
        if before == after:
            return after
        before = after
    raise UnsettledError('mounts change all the time')


def of_device(path: str, device: str, end: float = NEVER
              ) -> typing.List[Mount]:
    """Return the mounts of one superblock."""
    return read(path, lambda mount: mount.device == device, end,
                b' %s ' % device.encode('ascii'))


def of_id(path: str, number: int) -> typing.List[Mount]:
    """Return the mount of that id, if there is one."""
    return read(path, lambda mount: mount.id == number,
                having=b'%d ' % number)


def options_of(mount: Mount) -> typing.List[str]:
    """Return the superblock's options."""
    return mount.super_options.split(',')
