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

A process id alone tells nothing of another machine's processes, and machines
may share a ``host``. Containers of one machine have the same boot, but see
only their own processes: they must not share a ``host``.
"""

from __future__ import annotations

import os
import pathlib

BOOT = pathlib.Path('/proc/sys/kernel/random/boot_id')


def this_process() -> str:
    """Name this process as none of another machine or boot is named.

    :raises OSError: /proc cannot be read: the window must not be opened
    """
    pid = str(os.getpid())
    return f'{pid}/{_start_of(pid)}/{_boot()}'


def is_gone(owner: str) -> bool:
    """Whether a process is known to be there no more.

    Nothing is known of another boot: it may be another machine's.

    :param owner: what :func:`this_process` said in it; empty: nobody
    """
    if not owner:
        return True
    pid, start, boot = (*owner.split('/'), '', '', '')[:3]
    try:
        # Before there were boots in it, an owner was of this machine.
        return boot in ('', _boot()) and _start_of(pid) != start
    except OSError:
        return False


def _boot() -> str:
    return BOOT.read_text().strip()


def _start_of(pid: str) -> str:
    """Return when a process started, in clock ticks since boot; '': it ended.

    Not psutil's: its times of creation move with the machine's clock. From
    proc(5).

    :raises OSError: it cannot be seen
    """
    try:
        text = pathlib.Path(f'/proc/{int(pid)}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return ''
    state, *fields = text.rpartition(')')[2].split()
    return '' if state == 'Z' else fields[18]
