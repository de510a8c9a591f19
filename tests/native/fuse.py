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

"""A file system in this process that answers, and then hangs."""

import ctypes
import os
import pathlib
import struct
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
LOOKUP, GETATTR, INIT, OPENDIR = 1, 3, 26, 27
ENOSYS = 38
FOLDER = 0o40755


class Hanging:
    """A FUSE of folders in folders, until ``hang`` is called.

    :ivar point: where it is mounted
    """

    def __init__(self, point: pathlib.Path) -> None:
        self.point = point
        point.mkdir()
        self._device = os.open('/dev/fuse', os.O_RDWR)
        self._hangs = False
        options = f'fd={self._device},rootmode=40000,user_id=0,group_id=0'
        if LIBC.mount(b'hang', str(point).encode(), b'fuse', 0,
                      options.encode()):
            raise OSError(ctypes.get_errno(), 'fuse')
        self._number = os.minor(os.lstat('/').st_dev)
        threading.Thread(target=self._serve, daemon=True).start()
        self._number = os.minor(point.stat().st_dev)

    def hang(self) -> None:
        """Answer no more."""
        self._hangs = True

    def end(self) -> None:
        """Let go of everybody who waits, and unmount."""
        connections = pathlib.Path('/sys/fs/fuse/connections')
        if not (connections / str(self._number)).exists():
            LIBC.mount(b'none', str(connections).encode(), b'fusectl', 0,
                       None)
        abort = connections / str(self._number) / 'abort'
        if abort.exists():
            abort.write_text('1')
        LIBC.umount2(str(self.point).encode(), 2)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 17)
            except OSError:
                return
            if self._hangs:
                continue
            _, what, unique, node = struct.unpack_from('=IIQQ', request)
            self._answer(unique, self._body(what, node))

    def _answer(self, unique: int, body: bytes | None) -> None:
        error = -ENOSYS if body is None else 0
        body = body or b''
        os.write(self._device, struct.pack(
            '=IiQ', 16 + len(body), error, unique) + body)

    def _body(self, what: int, node: int) -> bytes | None:
        if what == INIT:
            return struct.pack('=IIIIHHIIHHI', 7, 19, 1 << 16, 0, 8, 4,
                               1 << 16, 1, 0, 0, 0) + bytes(24)
        if what == GETATTR:
            return struct.pack('=QII', 0, 0, 0) + _attributes(node)
        if what == LOOKUP:
            return struct.pack('=QQQQII', node + 1, 0, 0, 0, 0, 0
                               ) + _attributes(node + 1)
        if what == OPENDIR:
            return struct.pack('=QII', 1, 0, 0)
        return None


def _attributes(node: int) -> bytes:
    """Return a folder's attributes."""
    return struct.pack('=QQQQQQIIIIIIIIII', node, 0, 0, 0, 0, 0, 0, 0, 0,
                       FOLDER, 2, 0, 0, 0, 4096, 0)
