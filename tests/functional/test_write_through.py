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

"""A window with write_through, on real filesystems of a real guest."""

import time

import ddt

from cinder_wt_backup.claims import claim as claims
from tests.functional import base

Level = claims.Level
# A drain may be over in less than a shell takes to look.
SAMPLER = b"""
import glob, time
seen = set()
while True:
    for name in glob.glob('/proc/sys/vm/dirty*'):
        line = '%s:%s' % (name, open(name).read())
        if line not in seen:
            seen.add(line)
            open('/run/sampled', 'a').write(line)
    time.sleep(0.01)
"""


@ddt.ddt
class WriteThrough(base.TestCase):
    """Writers go on, nothing acknowledged is lost, nothing is left behind."""

    def test_btrfs_scanned_by_another_name_is_write_through(self) -> None:
        disk = self.volume()
        link = f'/dev/disk/by-id/virtio-{disk.volume[:20]}'
        self.machine.shell(f'udevadm settle; mkfs.btrfs -q {link}; '
                           f'mkdir -p /mnt/link; mount {link} /mnt/link')
        self.addCleanup(self.machine.shell, 'umount /mnt/link')
        before = self.machine.guest.state()
        with self.window(disk) as verdict:
            pass
        self.unchanged_by(before)
        self.assertEqual({'btrfs': 1}, base.kinds(verdict))
        self.assertEqual(Level.WRITE_THROUGH, verdict[0].level, verdict)

    def test_without_a_window_records_are_lost(self) -> None:
        disk = self.volume()
        load = self.writers(self.mount(disk.name, 'mkfs.ext4 -q'))
        status = load.status()
        snapshot = disk.snapshot()
        load.stop()
        self.assertRaises(
            AssertionError, self.assert_nothing_lost, load, status,
            self.restored(snapshot).name)

    def test_partitions_and_nested_mounts_lose_nothing(self) -> None:
        disk = self.volume()
        self.machine.shell(f'printf ",400M\\n,\\n" | '
                           f'sfdisk -q /dev/{disk.name}; udevadm settle')
        first, second = f'{disk.name}1', f'{disk.name}2'
        point = self.mount(first, 'mkfs.ext4 -q')
        self.machine.shell(
            f'mkfs.xfs -q /dev/{second}; mkdir "{point}/a b"; '
            f'mount /dev/{second} "{point}/a b"')
        self.addCleanup(self.machine.shell, f'umount "{point}/a b"')
        outer, inner = self.writers(point), self.writers(f'{point}/a b')
        before = self.machine.guest.state()
        with self.window(disk) as verdict:
            statuses = outer.status(), inner.status()
            snapshot = disk.snapshot()
        self.unchanged_by(before)
        self.assertEqual(Level.WRITE_THROUGH, verdict[0].level, verdict)
        self.assertEqual({'ext4': 1, 'xfs': 1}, base.kinds(verdict))
        restored = self.restored(snapshot).name
        self.assert_nothing_lost(outer, statuses[0], f'{restored}1')
        self.assert_nothing_lost(inner, statuses[1], f'{restored}2', 'nouuid')

    def test_much_dirty_data_is_drained_and_thresholds_put_back(self) -> None:
        disk = self.volume()
        point = self.mount(disk.name, 'mkfs.ext4 -q')
        self.machine.shell('sysctl -q vm.dirty_ratio=70 '
                           'vm.dirty_background_ratio=60')
        self.addCleanup(self.machine.shell, 'sysctl -q vm.dirty_ratio=20 '
                        'vm.dirty_background_ratio=10')
        load = self.writers(point)
        # For as long as it takes: the commits of ext4's journal flush as well.
        self.machine.shell('systemd-run -q --unit=dirtier sh -c "while :; do '
                           f'dd if=/dev/zero of={point}/more bs=1M count=60 '
                           'conv=notrunc; '
                           'sleep 0.2; done"')
        self.addCleanup(self.machine.shell,
                        'systemctl stop dirtier 2>/dev/null || :')
        before = self.machine.guest.state()
        self.machine.guest.put('/run/sampler.py', SAMPLER)
        self.machine.shell('systemd-run -q --unit=sampler python3 '
                           '/run/sampler.py; for i in $(seq 300); do '
                           'test -s /run/sampled && test $(awk '
                           '\'/^Dirty:/ { print $2 }\' /proc/meminfo) '
                           '-gt 30000 && exit 0; sleep 0.1; done; '
                           'echo nothing is dirty >&2; exit 1')
        with self.window(disk) as verdict:
            self.machine.shell('systemctl stop dirtier')
            status = load.status()
            snapshot = disk.snapshot()
        self.unchanged_by(before)
        self.assertEqual(
            ['/proc/sys/vm/dirty_background_bytes:1048576',
             '/proc/sys/vm/dirty_expire_centisecs:10',
             '/proc/sys/vm/dirty_ratio:70'],
            self.machine.shell(
                'systemctl stop sampler; rm /run/sampler.py; grep -x -e '
                '".*bytes:1048576" -e ".*expire_centisecs:10" -e '
                '".*/dirty_ratio:70" /run/sampled | sort -u').splitlines())
        self.assertEqual(Level.WRITE_THROUGH, verdict[0].level, verdict)
        self.assert_nothing_lost(load, status, self.restored(snapshot).name)

    def test_what_the_admin_set_is_left_alone(self) -> None:
        disk = self.volume()
        self.machine.shell(f'printf ",300M\\n,300M\\n,\\n" | '
                           f'sfdisk -q /dev/{disk.name}; udevadm settle')
        self.mount(f'{disk.name}1', 'mkfs.ext4 -q', 'sync')
        self.mount(f'{disk.name}2', 'mkfs.ext4 -q', 'ro')
        point = self.mount(f'{disk.name}3', 'mkfs.ext4 -q', 'commit=99')
        # fstab says something else, and the first mount is a read-only bind.
        self.machine.shell(
            f'echo /dev/{disk.name}3 {point} ext4 commit=15 0 0 >>/etc/fstab; '
            f'mkdir -p /mnt/bind; mount -o bind,ro {point} /mnt/bind')
        self.addCleanup(self.machine.shell, 'umount /mnt/bind; '
                        'sed -i /commit=15/d /etc/fstab')
        before = self.machine.guest.state()
        with self.window(disk) as verdict:
            self.assertIn('rw,sync', self.machine.shell(
                f'grep " {point} " /proc/self/mountinfo'))
        self.unchanged_by(before)
        self.assertEqual(Level.WRITE_THROUGH, verdict[0].level, verdict)

    def test_raw_use_claims_no_more_than_flushed(self) -> None:
        disk = self.volume()
        self.machine.shell(f'mknod /tmp/other b $(tr : " " '
                           f'</sys/block/{disk.name}/dev); '
                           f'systemd-run -q --unit=raw sh -c '
                           f'"exec 3<>/tmp/other; sleep 100"; sleep 0.5')
        self.addCleanup(self.machine.shell,
                        'systemctl stop raw; rm /tmp/other')
        with self.window(disk) as verdict:
            pass
        self.assertEqual(Level.FLUSHED, verdict[0].level, verdict)
        self.assertIn('without a file system', verdict[0].reason)

    def test_mounts_in_another_namespace_are_found(self) -> None:
        disk = self.volume()
        self.machine.shell(
            f'mkfs.ext4 -q /dev/{disk.name}; systemd-run -q --unit=other '
            f'-p PrivateMounts=yes sh -c "mount /dev/{disk.name} /mnt; '
            f'sleep 100"; sleep 1')
        self.addCleanup(self.machine.shell, 'systemctl stop other')
        with self.window(disk) as verdict:
            self.assertIn('rw,sync', self.machine.shell(
                'grep " /mnt " /proc/$(systemctl show -P MainPID other)/'
                'mountinfo'))
        self.assertEqual(Level.WRITE_THROUGH, verdict[0].level, verdict)

    def test_an_unmount_in_the_window_lowers_the_level(self) -> None:
        disk = self.volume()
        point = self.mount(disk.name, 'mkfs.ext4 -q')
        with self.window(disk) as verdict:
            self.machine.shell(f'umount {point}')
        self.machine.shell(f'mount /dev/{disk.name} {point}')
        self.assertEqual(Level.FLUSHED, verdict[0].level, verdict)

    @ddt.data(
        ('udevadm settle; vgcreate -q wt {0}; '
         'lvcreate -q -y -L 100M -n data wt', '/dev/wt/data',
         'vgchange -q -an wt', 'vgremove -q -y wt'),
        ('cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations '
         '1000 {0} /etc/hostname; cryptsetup open --key-file /etc/hostname '
         '{0} wtcrypt', '/dev/mapper/wtcrypt', 'cryptsetup close wtcrypt',
         ':'),
        (':', '{0}', 'fsck.ext4 -fn {0}', ':'),
        (':', '{0}', 'mkfs.ext4 -q -F {0}', ':'))
    @ddt.unpack
    def test_the_admin_can_take_a_volume_apart_in_the_window(
            self, make: str, on: str, apart: str, remove: str) -> None:
        disk = self.volume()
        device = f'/dev/{disk.name}'
        on = on.format(device)
        self.machine.shell(f'{make.format(device)}; mkfs.ext4 -q {on}; '
                           f'mkdir -p /mnt/apart; mount {on} /mnt/apart')
        self.addCleanup(self.machine.shell, remove)
        with self.window(disk) as verdict:
            # The next fails when something of ours still holds the former.
            self.machine.shell(
                'dd if=/dev/urandom of=/mnt/apart/data bs=1M count=4; '
                f'umount /mnt/apart; {apart.format(device)}')
        self.assertEqual(Level.FLUSHED, verdict[0].level, verdict)
        self.assertEqual('', self.machine.guest.left())

    def test_barrier_makes_it_as_clean_as_unmounted(self) -> None:
        disk = self.volume('scsi')
        load = self.writers(self.mount(disk.name, 'mkfs.ext4 -q'))
        before = self.machine.guest.state()
        status = load.status()
        with self.window(disk, barrier='freeze') as verdict:
            snapshot = disk.snapshot()
        self.unchanged_by(before)
        self.assertEqual(Level.FILESYSTEM, verdict[0].level, verdict)
        self.assertEqual('write_through+freeze', verdict[0].method)
        restored = self.restored(snapshot).name
        self.machine.shell(f'e2fsck -fn /dev/{restored}')
        # Refused if the journal had anything to replay; SQLite's own journal
        # may have, which needs a file system that can be written to.
        self.assert_nothing_lost(load, status, restored, 'noload')

    def test_a_window_that_outlasts_the_freeze_keeps_its_level(self) -> None:
        disk = self.volume()
        point = self.mount(disk.name, 'mkfs.ext4 -q')
        before = self.machine.guest.state()
        with self.window(disk, barrier='freeze',
                         freeze_timeout=1) as verdict:
            time.sleep(3)       # nothing can be run in a frozen guest
            self.machine.shell(f'touch {point}/after')
        self.unchanged_by(before)
        self.assertEqual(Level.WRITE_THROUGH, verdict[0].level, verdict)
        self.assertIn('freeze_timeout', verdict[0].reason)
