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

# The commands.

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

start() {                       # VOLUME_ID ADDRESS LEASE DRAIN FREEZE WHEN
    claim || { rm -rf "$DIR"; exit 4; }
    trap forget EXIT
    find_disk "$1" "$2" || exit 5
    echo "$disk" >"$DIR/disk"
    start_keeper "$3"
    look
    keeper_runs || exit 6
    trap - EXIT                     # from here on the keeper sees to it
    drain "$4"
    [ -z "$saved" ] || look         # it took a while
    mounts
    printf '%s\n' "$mounts" >"$DIR/mounts"
    printf '%s\n' "$marks" >"$DIR/flagged"
    flag_all sync >"$DIR/frozen"    # that somebody else froze it
    cat "$DIR/frozen"
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
    [ "$5" = - ] || [ -s "$DIR/frozen" ] || case $6:$filesystems in
    always:*|*" rw "*)
        echo "$5" >"$DIR/freeze"
        kept "$DIR" && kill -USR1 "$keeper" ;;
    esac
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
    if unflag; then
        # The keeper last: had we been killed, it would have done all that.
        forget
        lives "$keeper" "$DIR" && kill "$keeper"
    else
        printf '%s' "$stuck"        # for the next release, or the keeper
    fi
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

released() { kill $!; exit 0; }     # in a nap

keep() {                            # LEASE
    exec >/dev/null
    [ -e "$DIR/disk" ] && [ ! -e "$DIR/taken" ] || exit 0
    read -r disk <"$DIR/disk"
    uptime_cs
    _end=$((now + $1 * 100))
    trap released TERM
    trap : USR1                     # start is done: it ends the nap
    echo $$ >"$DIR/keeper"
    nap "$1" || {
        kill $!
        read -r _freeze <"$DIR/freeze"
        left
        [ $left -lt "$_freeze" ] || { nap "$_freeze"; thaw_all; left; }
        [ $left -le 0 ] || nap $left
    }
    trap '' TERM
    for _try in 1 2 3 4 5 6 7 8 9 10; do    # let a release at work finish
        take && break
        [ $CLAIM -ef "$DIR" ] || exit 0
        sleep 1
    done
    [ ! -e "$DIR/freeze" ] || thaw_all
    until undo || [ "$now" -ge $((_end + PATIENCE * 100)) ]; do
        give_way
    done
    forget
}

give_way() {                        # to a release, and to who froze something
    rm -f "$DIR/taken"
    trap released TERM
    nap 10
    trap '' TERM
    [ $CLAIM -ef "$DIR" ] || exit 0
    take
    uptime_cs
}

action=$1 token=$2 saved='' raw='' also='' stuck=''
shift 2
case $action in
start) start "$@" ;;
release) release ;;
keep) keep "$@" ;;
*) exit 2 ;;
esac
