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

"""What is on record in ``/run``: the lock, and all that undoing takes.

Everything is in one folder that only root can enter. It is opened once,
without following a link, and everything else is opened from there.
"""

import errno
import fcntl
import json
import os
import stat
import typing

from cinder_wt_backup.guest.guardian.inside import syscalls

FOLDER = 'cinder-wt-backup'
# As earlier versions call it: theirs and ours exclude each other.
LOCK = 'claim'
JOURNAL, NEW, SOCKET = 'journal', 'journal.new', 'socket'
TROUBLE, DISARMED = 'trouble', 'disarmed'
VERSION = 1
ROOM = 1 << 18                  # of a journal, reserved before it is written
TMPFS = (0x01021994, 0x858458f6)        # and ramfs

Record = typing.NamedTuple('Record', [
    ('device', str), ('type', str), ('identity', str), ('process', str),
    ('options', typing.List[str]), ('again', typing.List[str]),
    ('flag', bool), ('pulse', bool)])
Threshold = typing.NamedTuple('Threshold', [
    ('name', str), ('was', int), ('ours', int), ('ratio', int)])
Journal = typing.NamedTuple('Journal', [
    ('token', str), ('records', typing.List[Record]),
    ('thresholds', typing.List[Threshold])])


class UnsafeError(Exception):
    """What is in ``/run`` is not what can be relied on."""


class Folder:
    """The folder of the record.

    :raises UnsafeError: it is not root's alone, or not in memory
    :raises OSError: it could not be made
    """

    def __init__(self, run: str = '/run', make: bool = True) -> None:
        self.path = os.path.join(run, FOLDER)
        self.descriptor = self._open(make)
        is_at = os.fstat(self.descriptor)
        if is_at.st_uid != 0 or stat.S_IMODE(is_at.st_mode) & 0o77:
            raise UnsafeError('%s is not root\'s alone' % self.path)
        if not _in_memory(self.descriptor):
            raise UnsafeError('%s is not in memory' % run)

    def _open(self, make: bool = True) -> int:
        """Open the folder; make it, unless it is there."""
        try:
            if make:
                os.mkdir(self.path, 0o700)
        except FileExistsError:
            pass
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY
                       | os.O_NOFOLLOW | os.O_CLOEXEC)

    def try_lock(self) -> typing.Optional[int]:
        """Return the lock, held until its last copy is closed.

        None: somebody has it, or has just let go of it; ask again.
        """
        try:
            descriptor = os.open(
                LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600, dir_fd=self.descriptor)
        except FileNotFoundError:
            os.close(self.descriptor)       # the folder was removed
            self.descriptor = self._open()
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it may have removed it before it was let go of.
            if os.path.samestat(os.fstat(descriptor), os.stat(
                    LOCK, dir_fd=self.descriptor, follow_symlinks=False)):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return None

    def write(self, journal: Journal) -> None:
        """Store a journal in the place of the one before, and compare it.

        :raises OSError: there is no room, or it is not what was written; the
            one before is still there
        """
        text = json.dumps([VERSION, journal]).encode('ascii')
        if len(text) > ROOM:
            raise OSError(errno.EFBIG, 'too many file systems')
        descriptor = os.open(
            NEW, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600, dir_fd=self.descriptor)
        try:
            os.posix_fallocate(descriptor, 0, ROOM)
            if os.pwrite(descriptor, text.ljust(ROOM), 0) != ROOM:
                raise OSError(errno.ENOSPC, 'no room')
        finally:
            os.close(descriptor)
        if self._read(NEW) != text.ljust(ROOM):
            raise OSError(errno.EIO, 'the journal is not what was written')
        os.rename(NEW, JOURNAL, src_dir_fd=self.descriptor,
                  dst_dir_fd=self.descriptor)

    def read(self) -> typing.Optional[Journal]:
        """Return the journal, if there is one.

        :raises UnsafeError: there is one, but it cannot be read
        """
        try:
            version, (token, records, thresholds) = json.loads(
                self._read(JOURNAL).decode('ascii'))
            if version != VERSION:
                raise UnsafeError('a journal of version %s' % version)
            return Journal(token, [Record(*each) for each in records],
                           [Threshold(*each) for each in thresholds])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise UnsafeError('the journal: %s' % error)

    def note(self, trouble: str) -> None:
        """Leave behind what nobody foresaw, for who looks for it."""
        descriptor = os.open(
            TROUBLE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            | os.O_CLOEXEC, 0o600, dir_fd=self.descriptor)
        os.write(descriptor, trouble.encode('ascii', 'replace')[-4096:])
        os.close(descriptor)

    def disarm(self) -> None:
        """Tell workers without a supervisor that no freeze is ours any more.

        :raises OSError: there is no room; they wait for its end then
        """
        os.close(os.open(
            DISARMED, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600, dir_fd=self.descriptor))

    def is_disarmed(self) -> bool:
        """Whether that was told."""
        return DISARMED in os.listdir(self.descriptor)

    def forget(self) -> None:
        """Remove the journal and the socket; everything is undone."""
        for name in (SOCKET, NEW, JOURNAL, DISARMED):
            try:
                os.unlink(name, dir_fd=self.descriptor)
            except FileNotFoundError:
                pass

    def remove(self, lock: int) -> None:
        """Leave nothing, and let go of the lock; everything is undone."""
        self.forget()
        try:
            os.unlink(LOCK, dir_fd=self.descriptor)
            os.rmdir(self.path)
        except OSError:
            pass                # somebody else is there by now
        os.close(lock)

    def _read(self, name: str) -> bytes:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC,
                             dir_fd=self.descriptor)
        try:
            return os.read(descriptor, ROOM + 1)
        finally:
            os.close(descriptor)


def _in_memory(descriptor: int) -> bool:
    """Whether that folder is on a tmpfs, by the kernel's statfs."""
    return syscalls.file_system_type(descriptor) in TMPFS
