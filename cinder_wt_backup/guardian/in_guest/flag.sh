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

# The sync flag of superblocks.

# mount(8), the last resort: not through a bind mount, or one that is read-only
# when its filesystem is not, which would turn the whole filesystem read-only.
# An empty fstab, because it would take its options instead of the live ones
# (--options-source, which says so, is not known before util-linux 2.34).
flag_mount() {
    _flag=$1
    shift
    : >"$DIR/fstab"
    while [ $# -ge 2 ]; do
        awk -v id="$1" '$1 == id && $4 == "/" &&
                        substr($6, 1, 2) == substr($NF, 1, 2) { point = $5 }
                        $5 == point { top = $1 }
                        END { exit top != id }' /proc/self/mountinfo &&
            mount -T "$DIR/fstab" -o "remount,$_flag" "$2"
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
