#!/bin/sh
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
#
# The guardian: makes the filesystems of one disk write-through for a moment
# and puts them back, whatever happens to the host that asked for it.
#
#   guardian start   TOKEN VOLUME_ID ADDRESS LEASE DRAIN FREEZE|- WHEN
#   guardian release TOKEN
#   guardian keep    TOKEN LEASE    (the lease-keeper; start starts it)
#
# VOLUME_ID is the disk's serial, ADDRESS its PCI address or "-"; LEASE, DRAIN
# and FREEZE are seconds. With a FREEZE the host may freeze when start is done,
# and has thawed so many seconds later; if it has not, because it died, the
# keeper does, then and once more when the lease ends. It may not when start
# says "frozen" (by somebody else), and, with the WHEN "unless-sync" instead of
# "always", when all could be made synchronous. Reports lines of plain words
# on stdout, the last is "done". After a "stuck" in it a release is to be tried
# again; the keeper does too, when the lease ends. Exit status: 0 done, 3 the
# lease had ended, 4 another window is open in this guest, 5 the disk is not
# here, 6 no lease could be given.
#
# All that is needed to undo a change is written to $DIR before the change is
# made. $CLAIM -> $DIR says whose window it is; only its holder changes
# anything. Needs a POSIX sh, awk, sync; perl or python3 for the flag.
#
# What the guest's admin changes meanwhile is left as the admin had it: only
# the sync flag of a superblock that is still the one it was set on is taken
# away, and nothing else of it is touched. One thing cannot be seen: a "mount
# -o remount,sync" of what we made synchronous changes nothing in the kernel.

export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 077
exec </dev/null 2>/dev/null

CLAIM=/run/cinder-wt-backup
DIR=/run/cinder-wt-backup.$2
SMALL_KB=16384                      # this little dirty data needs no drain
PATIENCE=3600                       # seconds; a freeze may last past the lease
VM=/proc/sys/vm

uptime_cs() {                       # centiseconds since boot -> $now
    IFS=' .' read -r _s _c _rest </proc/uptime
    now=$((_s * 100 + ${_c#0}))
}

dirty_kb() {                        # dirty and being written -> $dirty
    dirty=0
    while read -r _key _kb _rest; do
        case $_key in Dirty:|Writeback:) dirty=$((dirty + _kb)) ;; esac
    done </proc/meminfo
}

unescape() {                        # mountinfo's \ooo, any of them -> $path
    _left=$1 path=
    while :; do
        case $_left in
        *\\[0-7][0-7][0-7]*) ;;
        *) path=$path$_left; return ;;
        esac
        path=$path${_left%%\\*} _left=${_left#*\\}
        _char=$(printf "\\${_left%"${_left#???}"}x")
        path=$path${_char%x} _left=${_left#???}
    done
}
