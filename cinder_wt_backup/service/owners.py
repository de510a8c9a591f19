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

"""Whose a window is: a process, of one boot of one machine.

Machines may share a ``host``, and containers of several machines have the
same process ids, so a process id alone tells nothing (proc(5), machine-id(5)).
"""

from __future__ import annotations

import os
import pathlib

MACHINE = pathlib.Path('/etc/machine-id')
BOOT = pathlib.Path('/proc/sys/kernel/random/boot_id')


def this_process() -> str:
    """Name this process as no other is named, anywhere."""
    return '/'.join((_first_line(MACHINE), _first_line(BOOT), str(os.getpid()),
                     _start_of(str(os.getpid()))))


def is_gone(owner: str) -> bool:
    """Whether a process is known to be there no more.

    Of another machine's, or one that a container without a machine-id(5) had
    before its machine was started again, nothing is known: False.

    :param owner: what :func:`this_process` said in it; empty: nobody
    """
    if not owner:
        return True
    machine, boot, pid, start = (*owner.split('/'), '', '', '', '')[:4]
    if boot == _first_line(BOOT):
        return _start_of(pid) != start
    return bool(machine) and machine == _first_line(MACHINE)


def _first_line(path: pathlib.Path) -> str:
    try:
        return path.read_text().partition('\n')[0].strip()
    except OSError:
        return ''


def _start_of(pid: str) -> str:
    """Return when a process started, in clock ticks since boot; '': it ended.

    Not psutil's: its times of creation move with the machine's clock.
    """
    try:
        text = pathlib.Path(f'/proc/{int(pid)}/stat').read_text()
    except (OSError, ValueError):
        return ''
    state, *fields = text.rpartition(')')[2].split()
    return '' if state == 'Z' else fields[18]
