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

# What is dirty, written back: gently at first.

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
