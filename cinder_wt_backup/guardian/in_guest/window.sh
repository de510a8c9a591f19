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

# Whose window it is, for how long, and putting the guest back.

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
start_keeper() {                    # LEASE
    set -- /bin/sh "$DIR/guardian.start" keep "$token" "$1"
    if [ -d /run/systemd/system ]; then
        _unit=--unit=${DIR##*/}.service
        systemd-run --quiet --collect --no-block "$_unit" "$@" && return
        systemd-run "$_unit" "$@" >/dev/null && return     # before 236
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

# Again, because a way to it may have gone, or somebody have frozen it for a
# moment. What the flag stays on all the same -> $stuck, lines of the report.
unflag() {
    for _pause in 0 0 0.3 0.6 1; do
        sleep $_pause || sleep 1
        flag_all async
        [ $flag_status != 0 ] || return 0
        look
        find_stuck
        [ -n "$stuck" ] || return 0     # by mount(8), which does not say
    done
    return 1
}

find_stuck() {
    stuck=''
    while read -r _number _type _is _rest; do
        case $_is in sync|*+) ;; *) continue ;; esac
        case $flagged in *" $_number "*) stuck="${stuck}stuck $_number
" ;;
        esac
    done <<LIST
$filesystems
LIST
}

forget() {
    if [ $CLAIM -ef "$DIR" ]; then rm -rf $CLAIM "$DIR"; else rm -rf "$DIR"; fi
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
