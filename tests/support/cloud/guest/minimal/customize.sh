#!/bin/sh
#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

# Makes a guest of the directory $1 that has the guest agent, e2fsprogs and
# busybox: no systemd, udev, util-linux, coreutils, perl or python. Run by
# mmdebstrap once the packages are extracted; none was configured.
set -eu
root=$1

mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp" \
    "$root/mnt" "$root/etc" "$root/sbin" "$root/usr/bin" "$root/usr/sbin" \
    "$root/var"
rm -rf "$root/var/run" "$root/usr/share"
ln -s /run "$root/var/run"

# Of the others only libraries stay, and what the two packages bring.
for folder in bin sbin usr/bin usr/sbin; do
    for program in "$root/$folder"/*; do
        case ${program##*/} in
        busybox|qemu-ga|mke2fs|mkfs.ext*) ;;
        *) rm -rf "$program" ;;
        esac
    done
done
for applet in $("$root/bin/busybox" --list-full); do
    [ -e "$root/$applet" ] || ln -s /bin/busybox "$root/$applet"
done

cat > "$root/etc/inittab" <<'INITTAB'
::sysinit:/bin/mount -o remount,rw /
::respawn:/etc/agent
INITTAB
cat > "$root/etc/agent" <<'AGENT'
#!/bin/sh
# Without udev there are no links to the ports; this guest has one only.
exec qemu-ga -p "$(ls /dev/vport* | head -n 1)"
AGENT
chmod 755 "$root/etc/agent"
