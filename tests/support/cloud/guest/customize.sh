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

# Makes the guest's root filesystem, in the directory $1, boot fast where
# every instruction is emulated. Run by mmdebstrap once all is unpacked.
set -eu
root=$1

echo guest > "$root/etc/hostname"
echo '127.0.0.1 localhost guest' > "$root/etc/hosts"
: > "$root/etc/resolv.conf"
echo uninitialized > "$root/etc/machine-id"
echo '/dev/root / ext4 defaults,errors=remount-ro 0 0' > "$root/etc/fstab"

# The initrd finds a plain ext4 root and nothing else.
for hook in btrfs cryptsetup fsck lvm2 mdadm; do
    rm -f "$root/usr/share/initramfs-tools/hooks/$hook" \
        "$root"/usr/share/initramfs-tools/scripts/local-*/"$hook"
done
sed -i 's/^MODULES=.*/MODULES=list/' "$root/etc/initramfs-tools/initramfs.conf"
printf '%s\n' virtio_pci virtio_blk virtio_scsi virtio_console \
    ata_piix sd_mod ext4 >> "$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u -k all

# What a test guest never needs at boot. Modules load when their device nodes
# are opened, which kmod-static-nodes makes.
units="$root/etc/systemd/system"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    mdcheck_start.timer mdmonitor-oneshot.timer \
    dev-hugepages.mount dev-mqueue.mount sys-fs-fuse-connections.mount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    getty.target getty-static.service remote-fs.target \
    ldconfig.service lvm2-monitor.service mdmonitor.service \
    modprobe@.service systemd-binfmt.service systemd-firstboot.service \
    systemd-hwdb-update.service systemd-journal-flush.service \
    systemd-logind.service systemd-machine-id-commit.service \
    systemd-modules-load.service systemd-pstore.service \
    systemd-random-seed.service systemd-update-utmp.service \
    systemd-update-utmp-runlevel.service systemd-user-sessions.service; do
    ln -sf /dev/null "$units/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$units/default.target"
mkdir -p "$root/etc/systemd/system.conf.d" "$root/etc/systemd/journald.conf.d"
printf '[Manager]\nLogLevel=notice\nShowStatus=no\n' \
    > "$root/etc/systemd/system.conf.d/quiet.conf"
printf '[Journal]\nStorage=volatile\n' \
    > "$root/etc/systemd/journald.conf.d/volatile.conf"

# What the guest agent calls; the usual one needs systemd-logind.
rm "$root/sbin/shutdown"
cat > "$root/sbin/shutdown" <<'SHUTDOWN'
#!/bin/sh
case " $* " in
*' -r '*) exec systemctl --no-wall --no-block reboot ;;
*) exec systemctl --no-wall --no-block poweroff ;;
esac
SHUTDOWN
chmod 755 "$root/sbin/shutdown"

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* \
    "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale
