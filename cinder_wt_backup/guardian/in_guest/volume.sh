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

# What is on the volume: its disk, the devices on that, what uses them.

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
