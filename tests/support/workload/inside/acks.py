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

"""What was acknowledged, and when: kept outside the volume, in tmpfs.

Entry ``n`` says when the call that wrote number ``n`` began and when it
returned (monotonic clock, nanoseconds). An entry is added after the call
returned, so the number of entries is the number of acknowledged writes.
"""

from __future__ import annotations

import os
import pathlib
import struct
import time

_ENTRY = struct.Struct('<QQ')


class Log:
    """The writer's side: one short append to tmpfs for each write."""

    def __init__(self, file: pathlib.Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        self._descriptor = os.open(file, flags, 0o644)

    def add(self, began_ns: int) -> None:
        """Note that the call begun at ``began_ns`` has just returned."""
        entry = _ENTRY.pack(began_ns, time.monotonic_ns())
        os.write(self._descriptor, entry)

    def close(self) -> None:
        """Close the file; what was added stays."""
        os.close(self._descriptor)


def count(file: pathlib.Path) -> int:
    """Return how many writes are acknowledged by now."""
    try:
        return file.stat().st_size // _ENTRY.size
    except FileNotFoundError:
        return 0


def longest_ms(file: pathlib.Path, since_ns: int = 0) -> float:
    """Return how long the longest call took, in milliseconds.

    Only the calls that returned at or after ``since_ns`` count.
    """
    data = file.read_bytes() if file.exists() else b''
    whole = len(data) - len(data) % _ENTRY.size
    return max((ended - began for began, ended
                in _ENTRY.iter_unpack(data[:whole]) if ended >= since_ns),
               default=0) / 1e6
