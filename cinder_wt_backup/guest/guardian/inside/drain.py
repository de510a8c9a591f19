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

"""The gentle drain: lower thresholds, so that little is dirty at the flag.

They are the guest's, not the volume's: lowered under the lease, on the
journal first, and put back where they are still as we left them.
"""

import os
import time
import typing

from cinder_wt_backup.guest.guardian.inside import journal

SMALL_KB = 16384                # this little needs no drain
LOWERED = (('dirty_background_bytes', 1 << 20),
           ('dirty_expire_centisecs', 10), ('dirty_writeback_centisecs', 10))
BYTES, RATIO = 'dirty_background_bytes', 'dirty_background_ratio'


def dirty_kb(proc: str = '/proc') -> int:
    """Return what is dirty or being written."""
    return sum(_memory_kb(proc, 'Dirty', 'Writeback'))


def available_kb(proc: str = '/proc') -> int:
    """Return how much memory programs can have without swapping.

    Linux before 3.14 does not say: then it is taken to be enough.
    """
    return sum(_memory_kb(proc, 'MemAvailable') or [1 << 40])


def _memory_kb(proc: str, *names: str) -> typing.List[int]:
    rows = (line.partition(':')
            for line in _text('%s/meminfo' % proc).splitlines())
    return [int(rest.split()[0]) for name, _, rest in rows if name in names]


def thresholds(proc: str = '/proc') -> typing.List[journal.Threshold]:
    """Return what will be lowered, as it is now.

    Setting bytes makes the ratio beside it zero: that one is remembered.
    """
    found = []
    for name, ours in LOWERED:
        was = int(_text('%s/sys/vm/%s' % (proc, name)))
        ratio = 0
        if name == BYTES and not was:
            ratio = int(_text('%s/sys/vm/%s' % (proc, RATIO)))
        found.append(journal.Threshold(name, was, ours, ratio))
    return found


def lower(saved: typing.List[journal.Threshold], proc: str = '/proc') -> None:
    """Lower them."""
    for each in saved:
        _write('%s/sys/vm/%s' % (proc, each.name), each.ours)


def restore(saved: typing.List[journal.Threshold], proc: str = '/proc'
            ) -> bool:
    """Put back what is as we left it; whether all is seen to be."""
    done = True
    for each in saved:
        try:
            done = _restore_one(each, proc) and done
        except (OSError, ValueError):
            done = False
    return done


def _restore_one(each: journal.Threshold, proc: str) -> bool:
    path = '%s/sys/vm/%s' % (proc, each.name)
    if int(_text(path)) != each.ours or each.was == each.ours:
        return True             # an admin changed it since
    if each.name == BYTES and not each.was:
        _write('%s/sys/vm/%s' % (proc, RATIO), each.ratio)
    else:
        _write(path, each.was)
    return int(_text(path)) == each.was


def wait(seconds: float, interrupted: typing.Callable[[float], object]
         ) -> bool:
    """Wait until little is dirty; whether that was in time."""
    end = time.monotonic() + seconds
    while dirty_kb() > SMALL_KB:
        if time.monotonic() >= end:
            return False
        interrupted(0.1)
    return True


def _text(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 16).decode('ascii', 'replace')
    finally:
        os.close(descriptor)


def _write(path: str, value: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, b'%d\n' % value)
    finally:
        os.close(descriptor)
