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
#   guardian start   TOKEN VOLUME_ID ADDRESS LEASE DRAIN FREEZE|-
#   guardian release TOKEN
#   guardian keep    TOKEN LEASE FREEZE|-  (the lease-keeper; start starts it)
#
# VOLUME_ID is the disk's serial, ADDRESS its PCI address or "-"; LEASE, DRAIN
# and FREEZE are seconds. With a FREEZE the host may freeze when start is done,
# and has thawed so many seconds later; if it has not, because it died, the
# keeper does, then and once more when the lease ends. Reports lines of plain
# words on stdout, the last is "done". Exit status: 0 done, 3 the lease had
# ended, 4 another window is open in this guest, 5 the disk is not here, 6 no
# lease could be given.
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

# ---- what is on the volume

serial_of() {                       # the serial a disk shows -> $serial
    serial=''
    if [ -r "$1/serial" ]; then
        read -r serial <"$1/serial"
    elif [ -r "$1/device/vpd_pg80" ]; then
        serial=$(tr -cd '[:alnum:]-' <"$1/device/vpd_pg80")
    fi
}

find_disk() {                       # VOLUME_ID ADDRESS -> $disk
    disk=
    for _block in /sys/block/*; do
        case ${_block##*/} in loop*|ram*|zram*|dm-*|md*|sr*) continue ;; esac
        serial_of "$_block"
        case $serial in
        *"${1%????????????????}"*) ;;   # virtio shows 20 of 36 characters
        *) continue ;;
        esac
        [ -z "$disk" ] || case $(readlink -f "$_block") in
        *"/$2/"*) ;;
        *) continue ;;
        esac
        disk=${_block##*/}
    done
    [ -n "$disk" ]
}

# Which superblock that is -> $mark: its folder in sysfs, and that one's inode
# number, which is another one after an unmount and a mount. (A mount's id is
# not: the kernel gives out the lowest one that is free.)
mark_of() {                         # NUMBER TYPE, after look
    _at=-
    case $2:$btrfs in
    btrfs:*' '*' '*) ;;             # of several it is not known which
    btrfs:*) _at=${btrfs# } ;;
    *)
        _name=$(readlink "/sys/dev/block/$1")
        for _folder in /sys/fs/*/"${_name##*/}"; do
            [ -z "$_name" ] || [ ! -d "$_folder" ] || _at=$_folder
        done ;;
    esac
    case $_at in
    -) mark=-=- ;;                  # the kernel shows none
    *) mark=$_at=$(stat -c %i "$_at") ;;
    esac
}

# Block devices that hold the volume's data: $devices, "maj:min name leaf".
# A leaf has nothing stacked on it: what uses it is a mount, swap or opener.
add_device() {
    read -r _number <"$1/dev" || return
    _leaf=leaf
    for _above in "$1"/*/partition "$1"/holders/*; do
        [ -e "$_above" ] && _leaf=stacked
    done
    devices="$devices$_number ${1##*/} $_leaf
"
    [ -r "$1/dm/name" ] && read -r _name <"$1/dm/name" &&
        devices="$devices$_number mapper/$_name alias
"
    for _above in "$1"/*/partition; do
        [ -e "$_above" ] && add_device "${_above%/partition}"
    done
    for _above in "$1"/holders/*; do
        [ -e "$_above" ] || continue
        case $devices in *" ${_above##*/} "*) continue ;; esac
        held=yes
        spans "/sys/block/${_above##*/}"
        add_device "/sys/block/${_above##*/}"
    done
}

spans() {                           # is a stacked device on other disks too?
    for _slave in "$1"/slaves/*; do
        case $devices in
        *" ${_slave##*/} "*) ;;
        *) [ -e "$_slave" ] && spans=yes ;;
        esac
    done
}

add_btrfs() {                       # all devices of a btrfs that we are in
    for _fs in /sys/fs/btrfs/*-*-*; do
        _ours='' _more=''
        for _member in "$_fs"/devices/*; do
            _name=${_member##*/}
            case $devices in *" $_name "*) _ours=yes ;; *) _more=yes ;; esac
        done
        [ -n "$_ours" ] || continue
        btrfs="$btrfs $_fs"
        [ -z "$_more" ] || spans=yes
        for _member in "$_fs"/devices/*; do
            devices="$devices- ${_member##*/} alias
"
        done
        # A mount shows the name that was scanned, which may be a link.
        for _source in $(awk '$3 == "btrfs" { print $1 }' /proc/self/mounts)
        do
            _name=$(readlink -f "$_source")
            case $devices in *" ${_name#/dev/} "*)
                devices="$devices- ${_source#/dev/} alias
" ;;
            esac
        done
    done
}

# A line for each filesystem: "number type state mount-id mount-point"; state
# is rw, ro, sync or nobarrier, with a + where there is a sync flag besides.
# Those that only another mount namespace has (its first mount has another id)
# are reached through a process's root. $also: what is on a disk that has gone.
look() {
    devices=$also spans='' held='' btrfs=''
    add_device "/sys/block/$disk"
    add_btrfs
    filesystems=$(devices=$devices awk '
        function state_of(options) {
            plus = options ~ /,sync,/ ? "+" : ""
            if (options ~ /,ro,/) return "ro" plus
            if (options ~ /,(nobarrier|barrier=0),/) return "nobarrier" plus
            return plus ? "sync" : "rw"
        }
        function scan(file, root,    line, f, n, i, m, k, type, mounts, covered) {
            while ((getline line < file) > 0) {
                n = split(line, f, " ")
                if (!m++ && f[1] in namespaces) break
                if (m == 1) namespaces[f[1]]
                covered[f[2], f[5]]     # by a mount on its very root
                for (i = 7; i < n && f[i] != "-"; i++) ;
                type = f[i + 1]
                if (f[3] in number || type == "btrfs" && f[i + 2] in source)
                    mounts[++k] = f[3] " " type " " \
                        state_of("," f[i + 3] ",") " " f[1] " " f[5]
            }
            close(file)
            for (i = 1; i <= 2 * k; i++) {  # first those that can be reached
                split(mounts[i > k ? i - k : i], f, " ")
                if (f[1] in found || i <= k && (f[4], f[5]) in covered)
                    continue
                found[f[1]]
                print f[1], f[2], f[3], f[4], root f[5]
            }
        }
        BEGIN {
            n = split(ENVIRON["devices"], device, "\n")
            while (n) {
                split(device[n--], f, " ")
                number[f[1]]; source["/dev/" f[2]]
            }
            scan("/proc/self/mountinfo", "")
            for (i = 1; i < ARGC; i++) {
                root = ARGV[i]; sub("mountinfo$", "root", root)
                scan(ARGV[i], root)
            }
        }' /proc/[0-9]*/mountinfo)
}

# Leaves of the volume that are neither mounted nor swap -> $loose
loose_devices() {
    loose='' swap=''
    while read -r _number _name _leaf; do
        [ "$_leaf" = leaf ] || continue
        case "
$filesystems" in *"
$_number "*) continue ;; esac
        grep -q "^/dev/$_name " /proc/swaps && swap=yes && continue
        case $filesystems in *" btrfs "*)
            ls "/sys/fs/btrfs/"*"/devices/$_name" >/dev/null && continue ;;
        esac
        loose="$loose $_name"
    done <<LIST
$devices
LIST
}

# Is a loose device in use, by a descriptor of whatever name, by a loop device
# or by something in the kernel that claimed it (ZFS)? Not provable: yes.
in_use_raw() {
    [ -n "$loose" ] || return 1
    _open=$(find -L /proc/[0-9]*/fd -maxdepth 1 -type b -exec ls -lL {} + |
        awk '{ sub(",", "", $5); print "," $5 ":" $6 "," }')
    for _name in $loose; do
        read -r _number <"/sys/class/block/$_name/dev"
        case $_open in *",$_number,"*) return 0 ;; esac
        grep -qx "/dev/$_name" /sys/block/loop*/loop/backing_file && return 0
        perl -e 'exit !sysopen(D, $ARGV[0], 0200)' "/dev/$_name" ||
            python3 -c 'import os, sys; os.open(sys.argv[1], os.O_EXCL)' \
                "/dev/$_name" || return 0
    done
    return 1
}

# ---- the sync flag of a superblock

# fspick(2) on the very mount that mountinfo named (its id is compared), then
# FSCONFIG_SET_FLAG and FSCONFIG_CMD_RECONFIGURE: moves that flag and nothing
# else. ext4 and btrfs take it for a wish to write when "ro" is not said of
# what is read-only by now. O_PATH opens what has lost its disk as well.
# Arguments: sync|async, then mount-id and path of each filesystem.
flag_perl='($flag, @fs) = @ARGV; ($key, $ro) = ("$flag\0", "ro\0");
$empty = "\0"; $failed = 0;
while (($id, $path) = splice(@fs, 0, 2)) {
    $ok = 0;
    $of = $path =~ m{^(/proc/\d+)/root} ? $1 : "/proc/self";
    if (sysopen(D, $path, 010000000)
            && open(I, "/proc/self/fdinfo/" . fileno(D))
            && open(M, "$of/mountinfo")) {
        ($got) = map { /^mnt_id:\s*(\d+)/ ? $1 : () } <I>;
        ($is) = map { /^$id .* - \S+ \S+ (ro|rw)/ ? $1 : () } <M>;
        if ($got == $id && $is
                && ($f = syscall(433, fileno(D), $empty, 9)) >= 0) {
            $ok = syscall(431, $f, 0, $key, 0, 0) == 0
                && ($is eq "rw" || syscall(431, $f, 0, $ro, 0, 0) == 0)
                && syscall(431, $f, 7, 0, 0, 0) == 0;
        } elsif ($! == 38) { exit 38 }
    }
    $failed = 1 unless $ok;
}
exit $failed;'
flag_python='import ctypes, os, re, sys
flag, fs, failed = sys.argv[1].encode(), sys.argv[2:], 0
syscall = ctypes.CDLL(None, use_errno=True).syscall
def shows(file, what):
    found = re.search(what, open(file, "rb").read(), re.M)
    return found and found.group(1).decode()
for mount_id, path in zip(fs[::2], fs[1::2]):
    try:
        d = os.open(path, 0o10000000)
        same = shows("/proc/self/fdinfo/%d" % d, br"^mnt_id:\s*(\d+)")
        of = re.match("/proc/[0-9]+(?=/root)", path)
        state = shows((of.group() if of else "/proc/self") + "/mountinfo",
                      br"^%s .* - \S+ \S+ (ro|rw)" % mount_id.encode())
        same = state and same == mount_id
        f = syscall(433, d, b"", 9) if same else -1
        if same and f < 0 and ctypes.get_errno() == 38:
            sys.exit(38)
        if f < 0 or syscall(431, f, 0, flag, None, 0) or (
                state == "ro" and syscall(431, f, 0, b"ro", None, 0)
                ) or syscall(431, f, 7, None, None, 0):
            failed = 1
    except EnvironmentError:
        failed = 1
sys.exit(failed)'

# mount(8), the last resort: not through a bind mount, or one that is read-only
# when its filesystem is not, which would turn the whole filesystem read-only,
# and only where it can be told to take the live options instead of fstab's.
flag_mount() {
    _flag=$1
    shift
    while [ $# -ge 2 ]; do
        awk -v id="$1" '$1 == id && $4 == "/" &&
                        substr($6, 1, 2) == substr($NF, 1, 2) { point = $5 }
                        $5 == point { top = $1 }
                        END { exit top != id }' /proc/self/mountinfo &&
            mount --options-source mtab -o "remount,$_flag" "$2"
        shift 2
    done
}

set_flag() {                        # sync|async MOUNT-ID PATH ...
    [ $# -ge 3 ] || return 0
    perl -e "$flag_perl" -- "$@"
    flag_status=$?
    [ $flag_status -gt 1 ] || return
    python3 -c "$flag_python" "$@"
    flag_status=$?
    [ $flag_status -gt 1 ] || return
    flag_mount "$@"                 # no interpreter, or no fspick(2)
}

# sync: what is writable and is not. async: what of $flagged has the flag yet.
flag_all() {
    _to=$1 flag_status=0
    set --
    while read -r _number _type _is _id _point; do
        case $_to:$_is in
        sync:rw) ;;
        async:sync|async:*+)
            case $flagged in *" $_number "*) ;; *) continue ;; esac ;;
        *) continue ;;
        esac
        unescape "$_point"
        set -- "$@" "$_id" "$path"
    done <<LIST
$filesystems
LIST
    set_flag "$_to" "$@"
}

sync_all() {                        # syncfs of each writable filesystem
    set --
    while read -r _number _type _is _id _point; do
        case $_is in ro*) continue ;; esac
        unescape "$_point"
        set -- "$@" "$path"
    done <<LIST
$filesystems
LIST
    [ $# -eq 0 ] || sync -f -- "$@" || sync
}

thaw_all() {                        # the host froze and did not come back
    look
    while read -r _number _type _is _id _point; do
        unescape "$_point"
        fsfreeze -u -- "$path" ||
            perl -e 'open(D, $ARGV[0]); ioctl(D, 0xC0045878, 0)' -- "$path"
    done <<LIST
$filesystems
LIST
}

# ---- the gentle drain

# A sysctl gives its value to the first read(2) only, and a shell's read takes
# a byte at a time: hence cat.
sysctl_of() { cat "$VM/$1"; }

# Saved as "name was ours ratio": writing bytes zeroes the ratio beside it.
lower_thresholds() {
    saved=
    for _set in dirty_background_bytes=1048576 \
            dirty_expire_centisecs=10 dirty_writeback_centisecs=10; do
        _name=${_set%=*} _ratio=-
        _was=$(sysctl_of "$_name")
        [ -n "$_was" ] || continue
        [ "$_was" != 0 ] || _ratio=$(sysctl_of "${_name%bytes}ratio")
        saved="$saved$_name $_was ${_set#*=} $_ratio
"
    done
    printf '%s' "$saved" >"$DIR/sysctl"
    while read -r _name _was _ours _ratio; do
        [ -z "$_name" ] || echo "$_ours" >"$VM/$_name"
    done <<LIST
$saved
LIST
}

# Put back what is still as we left it: the admin may have changed it since.
restore_thresholds() {
    [ -s "$DIR/sysctl" ] || return 0
    while read -r _name _was _ours _ratio; do
        _is=$(sysctl_of "$_name")
        [ "$_is" = "$_ours" ] || continue
        case $_name:$_was in
        dirty_background_bytes:0)
            echo "$_ratio" >"$VM/dirty_background_ratio" ;;
        *) echo "$_was" >"$VM/$_name" ;;
        esac
    done <"$DIR/sysctl"
    rm -f "$DIR/sysctl"
}

drain() {                           # SECONDS at the most
    dirty_kb
    uptime_cs
    echo "dirty $dirty"
    _end=$((now + $1 * 100))
    [ "$dirty" -gt $SMALL_KB ] || return 0
    lower_thresholds
    while [ "$dirty" -gt $SMALL_KB ] && [ "$now" -lt $_end ]; do
        sleep 0.2 || sleep 1
        dirty_kb
        uptime_cs
    done
    for _round in 1 2 3 4; do       # of syncfs, until one is short
        _before=$now
        sync_all
        uptime_cs
        [ $((now - _before)) -gt 30 ] && [ "$now" -lt $_end ] || break
    done
    restore_thresholds
    [ "$now" -lt $_end ] || echo "late"
}

# ---- whose window it is, and for how long

claim() {                           # 0: ours now. A link is made atomically
    echo $$ >"$DIR/keeper"          # until the keeper itself is there
    for _try in 1 2; do
        ln -sn "$DIR" $CLAIM && return 0
        _owner=$(readlink $CLAIM)
        kept "$_owner" && return 1
        # A leftover: its keeper was killed. Only one may take it.
        mv $CLAIM "$DIR/leftover" || return 1
        [ "$(readlink "$DIR/leftover")" = "$_owner" ] || {
            mv "$DIR/leftover" $CLAIM
            return 1
        }
        rm -f "$DIR/leftover"
        (DIR=$_owner && read -r disk <"$DIR/disk" && undo)
        rm -rf "$_owner"
    done
    return 1
}

lives() {                           # PID FOLDER: is it that window's guardian?
    _command=''
    read -r _command <"/proc/$1/cmdline"    # ends without a new line
    case $_command in *"$2/guardian"*) ;; *) return 1 ;; esac
}

kept() {                            # FOLDER: does its keeper live?
    [ -s "$1/keeper" ] && read -r keeper <"$1/keeper" && lives "$keeper" "$1"
}

keeper_runs() {
    for _try in 1 2 3 4 5 6 7 8 9 10; do
        kept "$DIR" && [ "$keeper" != $$ ] && return 0
        sleep 0.1 || sleep 1
    done
    return 1
}

# Left behind so that neither a log-out nor the agent's own end takes it along.
start_keeper() {                    # LEASE FREEZE
    set -- /bin/sh "$DIR/guardian.start" keep "$token" "$@"
    if [ -d /run/systemd/system ]; then
        systemd-run --quiet --collect --no-block \
            --unit="${DIR##*/}.service" "$@" && return
    fi
    if command -v setsid >/dev/null; then set -- setsid "$@"; fi
    "$@" >/dev/null &
}

# Who takes it undoes the window: a release or the keeper, not both. One that
# was killed at work (as children of an agent that ends are) has it no more.
take() {
    (set -C; echo $$ >"$DIR/taken") && return
    _taker=''
    read -r _taker <"$DIR/taken"
    [ -n "$_taker" ] && ! lives "$_taker" "$DIR" && echo $$ >"$DIR/taken"
}

# Those that are still what we set the flag on -> $flagged, " number number ";
# not so what was unmounted since. They may have lost their disk -> $also.
read_flagged() {
    flagged=' ' also=''
    [ -s "$DIR/flagged" ] && read -r _marks <"$DIR/flagged" || return 0
    for _entry in $_marks; do
        _number=${_entry%%=*} _inode=${_entry##*=}
        _at=${_entry#*=} _at=${_at%=*}
        if [ "$_at" != - ]; then
            [ "$(stat -c %i "$_at")" = "$_inode" ] || continue
            also="$also$_number - alias
"
        fi
        flagged="$flagged$_number "
    done
}

undo() {                            # everything as it was before
    restore_thresholds
    read_flagged
    [ "$flagged" != ' ' ] || return 0
    look
    unflag
}

unflag() {                          # twice: a way to it may have gone
    flag_all async
    [ $flag_status = 0 ] || { look; flag_all async; }
}

forget() {
    if [ $CLAIM -ef "$DIR" ]; then rm -rf $CLAIM "$DIR"; else rm -rf "$DIR"; fi
}

# ---- commands

report() {
    while read -r _number _type _is _id _point; do
        [ -z "$_number" ] || printf 'fs %s %s %s %s\n' \
            "$_number" "$_type" "${_is%+}" "$_point"
    done <<LIST
$filesystems
LIST
    for _word in ${spans:+spans} ${held:+held} ${swap:+swap} ${raw:+raw}; do
        echo "$_word"
    done
}

mounts() {                          # what must be the same at the end
    mounts='' marks=''              # and what will be flagged
    while read -r _number _type _is _id _point; do
        [ -n "$_number" ] || continue
        mark_of "$_number" "$_type"
        mounts="$mounts$_number $_type $_id $_point $mark;"
        [ "$_is" != rw ] || marks="$marks$_number=$mark "
    done <<LIST
$filesystems
LIST
}

start() {                           # VOLUME_ID ADDRESS LEASE DRAIN FREEZE
    claim || { rm -rf "$DIR"; exit 4; }
    trap forget EXIT
    find_disk "$1" "$2" || exit 5
    echo "$disk" >"$DIR/disk"
    start_keeper "$3" "$5"
    look
    keeper_runs || exit 6
    trap - EXIT                     # from here on the keeper sees to it
    drain "$4"
    [ -z "$saved" ] || look         # it took a while
    mounts
    printf '%s\n' "$mounts" >"$DIR/mounts"
    printf '%s\n' "$marks" >"$DIR/flagged"
    flag_all sync
    sync_all
    loose_devices
    for _name in $loose; do
        blockdev --flushbufs "/dev/$_name" || sync
    done
    # Whatever uses it may have a cache that is not the device's.
    if in_use_raw; then raw=yes; sync; fi
    look
    report
    [ ! -e "$DIR/taken" ] && [ -e "$DIR/disk" ] || undo_late
    [ "$5" = - ] || { kept "$DIR" && kill -USR1 "$keeper"; }
    echo "done"
}

undo_late() {           # released or lapsed while start was still at it
    mkdir -p "$DIR"
    printf '%s\n' "$marks" >"$DIR/flagged"
    printf '%s' "$saved" >"$DIR/sysctl"
    undo
    forget
    exit 3
}

stuck() {                           # what the flag could not be taken from
    look
    while read -r _number _type _is _rest; do
        case $_is in sync|*+) ;; *) continue ;; esac
        case $flagged in *" $_number "*) echo "stuck $_number" ;; esac
    done <<LIST
$filesystems
LIST
}

release() {
    [ $CLAIM -ef "$DIR" ] && take || {
        for _try in 1 2 3 4 5 6 7 8 9 10; do    # let who is at work finish
            [ $CLAIM -ef "$DIR" ] || break
            sleep 0.5 || sleep 1
        done
        [ $CLAIM -ef "$DIR" ] && exit 1
        rm -rf "$DIR"
        exit 3
    }
    kept "$DIR" || keeper=0
    read -r disk <"$DIR/disk"
    read_flagged
    look
    loose_devices
    if in_use_raw; then raw=yes; fi
    report
    mounts
    read -r _before <"$DIR/mounts"
    [ "$mounts" != "$_before" ] || [ ! -e "/sys/block/$disk" ] || echo "same"
    restore_thresholds
    unflag
    [ $flag_status = 0 ] || stuck
    # The keeper last: had we been killed, it would have done all that.
    forget
    lives "$keeper" "$DIR" && kill "$keeper"
    echo "done"
}

left() {                            # whole seconds of the lease -> $left
    uptime_cs
    left=$(((_end - now) / 100))
}

nap() {                             # SECONDS, which a trap may cut short
    sleep "$1" &
    wait $!
}

keep() {                            # LEASE FREEZE
    [ -e "$DIR/disk" ] && [ ! -e "$DIR/taken" ] || exit 0
    read -r disk <"$DIR/disk"
    uptime_cs
    _end=$((now + $1 * 100))
    trap 'kill $!; exit 0' TERM
    trap : USR1                     # start is done: it ends the nap
    echo $$ >"$DIR/keeper"
    nap "$1" || [ "$2" = - ] || {
        kill $!
        left
        [ $left -lt "$2" ] || { nap "$2"; thaw_all; left; }
        [ $left -le 0 ] || nap $left
    }
    trap '' TERM
    for _try in 1 2 3 4 5 6 7 8 9 10; do    # let a release at work finish
        take && break
        [ $CLAIM -ef "$DIR" ] || exit 0
        sleep 1
    done
    [ "$2" = - ] || thaw_all
    undo
    forget
}

action=$1 token=$2 saved='' raw='' also=''
shift 2
case $action in start|release|keep) $action "$@"; exit $? ;; esac
exit 2
