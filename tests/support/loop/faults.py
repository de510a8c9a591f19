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

"""Goes before the program's text: lets one of its calls go wrong, once.

A *place* is a call of the system together with the functions of the program
that lead to it, from where its process began. Whoever comes there first, in
whatever process, fails, hangs, or is killed; ``PLAN`` says which. Without a
place it notes all that are passed. Python 3.6, as the program.
"""

import builtins
import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import sys
import time

PLAN = {}                       # replaced by what a trial plans
ROOTS = ('worker._serve', 'behind.run', 'pulse._freeze_and_thaw',
         'main.report_on', 'apart.act', 'apart._flush')
CALLS = ((os, ('open', 'read', 'write', 'close', 'fstat', 'stat', 'lstat',
               'readlink', 'listdir', 'pipe', 'dup', 'dup2', 'fork', 'mkdir',
               'rename', 'unlink', 'rmdir', 'fstatvfs', 'posix_fallocate',
               'pwrite', 'set_blocking', 'setsid', 'waitpid', 'chdir', 'sync',
               'kill')),
         (fcntl, ('flock', 'ioctl')), (select, ('select',)),
         (builtins, ('open',)))
METHODS = ('sendall', 'recv', 'accept', 'connect', 'bind', 'listen')
# What these fail with; everything else with EIO.
ERRORS = {'fork': errno.EAGAIN, 'mlockall': errno.ENOMEM,
          'posix_fallocate': errno.ENOSPC, 'pipe': errno.EMFILE}
REAL = {(owner, name): getattr(owner, name)
        for owner, names in CALLS for name in names}
KNOWN = set()


def _real(name, owner=os):
    return REAL[owner, name]


def _append(name, text):
    descriptor = _real('open')(PLAN[name], os.O_WRONLY | os.O_CREAT
                               | os.O_APPEND | os.O_CLOEXEC, 0o600)
    _real('write')(descriptor, (text + '\n').encode('ascii'))
    _real('close')(descriptor)


def _joined():
    """Put this process on the list of those that are killed together."""
    if os.getpid() not in KNOWN:
        KNOWN.add(os.getpid())
        _append('processes', str(os.getpid()))


def _place(call):
    """Return where we are; empty: not in the program."""
    names, line = [], 0
    frame = sys._getframe(2)
    while frame is not None:
        part = frame.f_code.co_filename
        if part in PLAN['parts']:
            line = line or frame.f_lineno
            names.append('%s.%s' % (part, frame.f_code.co_name))
            if names[-1] in ROOTS:
                break
        frame = frame.f_back
    return '%s:%d %s' % ('>'.join(reversed(names)), line, call
                         ) if names else ''


def _is_first():
    try:
        _real('close')(_real('open')(
            PLAN['fired'], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


def _hang():
    """Be as one in the kernel: deaf, until the obstacle is gone."""
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    while True:
        try:
            _real('stat')(PLAN['obstacle'])
        except FileNotFoundError:
            break
        time.sleep(0.02)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, range(1, signal.NSIG))


def _kill_all():
    descriptor = _real('open')(PLAN['processes'], os.O_RDONLY)
    others = {int(line) for line in _real('read')(
        descriptor, 1 << 16).split()} - {os.getpid()}
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for each in others:
            try:
                _real('kill')(each, number)
            except ProcessLookupError:
                pass
    _real('kill')(os.getpid(), signal.SIGKILL)


def _passed(call):
    """Note it, or let it go wrong; return what it is to fail with."""
    _joined()
    place = _place(call)
    if not place:
        return 0
    if not PLAN['place']:
        _append('places', place)
    elif place == PLAN['place'] and _is_first():
        if PLAN['fault'] == 'fails':
            return ERRORS.get(call, errno.EIO)
        if PLAN['fault'] == 'killed':
            _real('kill')(os.getpid(), signal.SIGKILL)
        if PLAN['fault'] == 'all killed':
            _kill_all()
        _hang()
    return 0


def _wrapped(real, name):
    def call(*arguments, **named):
        said = name
        if name == 'ioctl':
            said = 'ioctl(%#x)' % arguments[1]
        number = _passed(said)
        if number:
            if name == 'close':
                real(*arguments)        # as Linux does
            raise OSError(number, os.strerror(number))
        result = real(*arguments, **named)
        if name == 'fork' and result:
            _append('processes', str(result))
        return result
    return call


class _Libc(object):
    """Calls through ctypes, which fail by their result."""

    def __init__(self, real):
        self._real = real

    def __getattr__(self, name):
        real = getattr(self._real, name)

        def call(*arguments):
            said = name
            if name == 'syscall':
                said = 'syscall(%d)' % arguments[0].value
            number = _passed(said)
            if number:
                ctypes.set_errno(number)
                return -1
            return real(*arguments)
        return call


def _method(name):
    real = getattr(socket.socket, name)

    def call(self, *arguments):
        number = _passed(name)
        if number:
            raise OSError(number, os.strerror(number))
        return real(self, *arguments)
    return call


def inject():
    """Put all of it in place."""
    for owner, name in REAL:
        setattr(owner, name, _wrapped(REAL[owner, name], name))
    names = dict((name, _method(name)) for name in METHODS)
    socket.socket = type('socket', (socket.socket,), names)
    library = ctypes.CDLL
    ctypes.CDLL = lambda *given, **named: _Libc(library(*given, **named))
    uname = os.uname()
    if PLAN['kernel']:
        os.uname = lambda: os.uname_result(
            (uname.sysname, uname.nodename, PLAN['kernel'], uname.version,
             uname.machine))


inject()
