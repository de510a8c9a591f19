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

"""Moves the sync flag of filesystems, and nothing else of them.

Arguments: sync|async, then mount-id and path of each. fspick(2) on the very
mount that mountinfo named (its id is compared), then FSCONFIG_SET_FLAG and
FSCONFIG_CMD_RECONFIGURE. ext4 and btrfs take it for a wish to write when "ro"
is not said of what is read-only by now. O_PATH opens what has lost its disk
as well. Says "frozen" of what is frozen (EBUSY, reconfigure_super). Exit
status: 0 done, 1 not with each of them, 38 no fspick(2).

For any Python 3, by itself in a guest: python3 -c. It travels as a word of a
shell, so without single quotes.
"""

import ctypes
import errno
import os
import re
import sys

FSCONFIG, FSPICK = 431, 433         # the same on every architecture
CLOEXEC_EMPTY_PATH = 9
SET_FLAG, CMD_RECONFIGURE = 0, 7
O_PATH = 0o10000000
RO = b"ro"

syscall = ctypes.CDLL(None, use_errno=True).syscall


def found_in(file: str, pattern: bytes) -> str:
    """Return what the group of the pattern matches; empty: nothing."""
    with open(file, "rb") as lines:
        found = re.search(pattern, lines.read(), re.MULTILINE)
    return found.group(1).decode() if found else ""


def move(flag: str, mount_id: str, path: str) -> bool:
    """Move the flag of one filesystem; whether that could be done."""
    mount = os.open(path, O_PATH)
    process = re.match("/proc/[0-9]+(?=/root)", path)
    state = found_in(
        (process.group() if process else "/proc/self") + "/mountinfo",
        b"^%s .* - \\S+ \\S+ (ro|rw)" % mount_id.encode())
    if not state or mount_id != found_in("/proc/self/fdinfo/%d" % mount,
                                         b"^mnt_id:\\s*(\\d+)"):
        return False
    picked = syscall(FSPICK, mount, b"", CLOEXEC_EMPTY_PATH)
    if picked < 0 and ctypes.get_errno() == errno.ENOSYS:
        sys.exit(errno.ENOSYS)
    flags = [flag.encode(), RO] if state == "ro" else [flag.encode()]
    moved = picked >= 0 and not any(
        syscall(FSCONFIG, picked, SET_FLAG, each, None, 0)
        for each in flags) and not syscall(
            FSCONFIG, picked, CMD_RECONFIGURE, None, None, 0)
    if not moved and ctypes.get_errno() == errno.EBUSY:
        print("frozen")
    return moved


def main(flag: str, *filesystems: str) -> int:
    """Move the flag of each filesystem; return the exit status."""
    failed = 0
    for mount_id, path in zip(filesystems[::2], filesystems[1::2]):
        try:
            failed |= not move(flag, mount_id, path)
        except OSError:
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
