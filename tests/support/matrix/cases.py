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


"""What guests have on their volumes, and the level that is true of it.

Scripts run in the guest, ``sh -e``, with the volumes' devices as ``$1`` and
``$2``. ``make`` is run once; ``up`` makes it usable, on the first volume or on
a copy of it, and mounts it at POINT; ``down`` undoes ``up``.
"""

import dataclasses

POINT = '/mnt/matrix'
MOUNT = f'mkdir -p {POINT}; mount "$device" {POINT}'
UMOUNT = f'umount {POINT}'


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table.

    :ivar level: what its backup has to claim
    :ivar reason: what has to be in the reason; empty: there is none
    :ivar filesystems: how many of each type are counted
    :ivar verified: what the point in time has to show; empty: whatever
    :ivar barrier: whether a barrier is configured
    :ivar methods: which methods are
    :ivar volumes: how many there are; the first is backed up
    :ivar written: whether writers run at POINT, and what they wrote is looked
        for in the copy
    :ivar agent: further lines of its service, for the guest agent
    :ivar state: what state the guest is in (tests.support.matrix.states)
    :ivar reboots: whether it boots in that state: what ``up`` did is undone
    """

    name: str
    make: str
    up: str = MOUNT
    down: str = UMOUNT
    level: str = 'write-through'
    reason: str = ''
    filesystems: str = ''
    verified: str = 'journal'
    barrier: bool = False
    methods: tuple[str, ...] = ('write_through', 'freeze')
    volumes: int = 1
    bus: str = 'virtio'
    written: bool = True
    agent: tuple[str, ...] = ()
    state: str = ''
    reboots: bool = False


def _plain(kind: str, verified: str = 'journal', frozen: str = 'clean',
           mkfs: str = '', options: str = '') -> list[Case]:
    make = f'{mkfs or f"mkfs.{kind} -q"} $1'
    up = f'mkdir -p {POINT}; mount {options} $1 {POINT}'
    return [Case(f'{kind} on the whole disk', make, up, verified=verified,
                 filesystems=f'{kind}=1'),
            Case(f'{kind} with a barrier', make, up, level='filesystem',
                 verified=frozen, filesystems=f'{kind}=1', barrier=True)]


def _by_options(kind: str, make: str, *options: str,
                **expected: object) -> Case:
    """A partition for each: mounted with that, and as it was afterwards."""
    numbered = list(enumerate(options, 1))
    table = 'label: gpt\\n' + len(options) * f',{_PARTITION[kind]}M\\n'
    return Case(
        f'{kind}, mounted with {len(options)} options',
        f'printf "{table}" | sfdisk -q $1; udevadm settle; ' + '; '.join(
            f'{make} ${{1}}{number} >/dev/null' for number, _ in numbered),
        '; '.join(f'mkdir -p {POINT}{number}; mount -o {option} '
                  f'${{1}}{number} {POINT}{number}'
                  for number, option in numbered),
        'umount ' + ' '.join(f'{POINT}{number}' for number, _ in numbered),
        filesystems=f'{kind}={len(options)}', verified='',
        written=False, **expected)


# The smallest that each mkfs makes, in MiB.
_PARTITION = {'ext4': 20, 'xfs': 320, 'btrfs': 120, 'vfat': 20}
_EXT4 = ('commit=99', 'data=journal', 'data=writeback', 'nodelalloc',
         'discard', 'errors=panic', 'grpid', 'lazytime', 'max_batch_time=99',
         'stripe=16', 'noauto_da_alloc', 'nouid32', 'noatime', 'nosuid,nodev',
         'strictatime')
_XFS = ('inode32', 'inode64,nosuid', 'wsync,noatime')
_BTRFS = ('noacl', 'noacl,compress=zlib', 'nodatasum', 'autodefrag,commit=99',
          'flushoncommit,noatime', 'thread_pool=3,max_inline=0',
          'user_subvol_rm_allowed,ssd')
_VFAT_OPTIONS = (
    'uid=5,gid=6,umask=077', 'dmask=022,fmask=133', 'allow_utime=20',
    'codepage=437', 'utf8=1', 'shortname=mixed',
    'check=s', 'errors=continue', 'errors=panic', 'flush', 'tz=UTC',
    'usefree', 'nonumtail=1', 'quiet', 'showexec', 'rodir,sys_immutable',
    'nfs', 'noatime', 'lazytime')


_EVERY_OPTION = (
    _by_options('ext4', 'mkfs.ext4 -q', *_EXT4),
    _by_options('xfs', 'mkfs.xfs -q', *_XFS),
    _by_options('btrfs', 'mkfs.btrfs -q', *_BTRFS))


def _unused(name: str, make: str, up: str = ':', down: str = ':',
            **expected: object) -> Case:
    return Case(name, make, up, down, written=False, **expected)


_EFI = 'not covered'
_EFI_MAKE = ('printf "label: gpt\\n,100M,U\\n,\\n" | sfdisk -q $1; '
             'udevadm settle; mkfs.vfat ${1}1 >/dev/null; ')


def _efi(kind: str, frozen: str) -> list[Case]:
    """A volume as boot volumes are, by each way to make it consistent."""
    make = f'{_EFI_MAKE} mkfs.{kind} -q ${{1}}2'
    options = '-o nouuid' if kind == 'xfs' else ''
    up = (f'mkdir -p {POINT} /boot/efi; mount {options} ${{1}}2 {POINT}; '
          'mount ${1}1 /boot/efi')
    down = f'umount /boot/efi {POINT}'
    name = f'{kind} and an EFI system partition'
    top = {'level': 'filesystem', 'reason': _EFI, 'verified': frozen,
           'filesystems': f'{kind}=1'}
    return [
        Case(name, make, up, down,
             filesystems=','.join(sorted((f'{kind}=1', 'vfat=1')))),
        Case(f'{name}, with a barrier', make, up, down, barrier=True, **top),
        Case(f'{name}, freeze only', make, up, down, methods=('freeze',),
             **top)]


def _vfat_elsewhere() -> list[Case]:
    make = f'{_EFI_MAKE} mkfs.ext4 -q ${{1}}2'
    up = (f'mkdir -p {POINT} /mnt/vfat; mount ${{1}}2 {POINT}; '
          'mount ${1}1 /mnt/vfat')
    down = f'umount /mnt/vfat {POINT}'
    both = 'ext4=1,vfat=1'
    return [
        Case('ext4 and vfat', make, up, down, filesystems=both),
        Case('ext4 and vfat, with a barrier', make, up, down, barrier=True,
             filesystems=both, reason='vfat cannot be frozen',
             verified='clean'),
        Case('ext4 and vfat, freeze only', make, up, down, level='crash',
             methods=('freeze',), filesystems='ext4=1',
             reason='vfat can neither be frozen', verified='clean')]


_MBR = ('printf "label: dos\\n,300M\\n,300M,8e\\n,\\n" | sfdisk -q $1; '
        'udevadm settle; ')
_GPT = ('printf "label: gpt\\n,300M\\n,300M\\n,\\n" | sfdisk -q $1; '
        'udevadm settle; ')
_FORTY = ('{ echo label: gpt; for i in $(seq 40); do echo ",20M"; done; } | '
          'sfdisk -q $1; udevadm settle; '
          'for i in $(seq 40); do mkfs.ext4 -q -O ^has_journal ${1}$i; done')
_EACH = f'for i in $(seq 40); do mkdir -p {POINT}$i; '
_LVM = 'udevadm settle; vgcreate -q wt '
_VOLUME = 'device=/dev/wt/data; '
_LUKS = ('cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 '
         '--pbkdf-force-iterations 1000 $1 /etc/hostname')
_OPEN = 'cryptsetup open --key-file /etc/hostname $1 wtcrypt; '
_CLOSE = f'umount {POINT}; cryptsetup close wtcrypt'
_MD = 'mdadm -q --create /dev/md/wt --run --force --metadata 1.2 '


def _in_state(state: str, level: str = 'crash', reason: str = '',
              **expected: object) -> Case:
    """A plain ext4 that nobody writes to, in a guest that is not at ease."""
    return Case(state, 'mkfs.ext4 -q $1', state=state, level=level,
                reason=reason, written=False, **expected)


def _while_down(state: str, reason: str, **expected: object) -> Case:
    """As above; mounted nowhere, since the guest boots afterwards."""
    return _in_state(state, reason=reason, up=':', down=':', reboots=True,
                     verified='clean', **expected)


_ROOT = (f'case $1 in /dev/vda) mkdir -p {POINT} ;; *) mkdir -p /mnt/root; '
         f'mount $1 /mnt/root; mount --bind /mnt/root{POINT} {POINT}; esac')
_OFF_ROOT = (f'case $1 in /dev/vda) ;; *) umount {POINT} /mnt/root; '
             f'rm -r {POINT}; esac')
_HOOKED = ('ExecStart=', 'ExecStart=/usr/sbin/qemu-ga -F/etc/hook')
# Writable, but by no mount: a remount would make all of it read-only.
_BOUND = (f'mkdir -p {POINT} /mnt/disk; mount $1 /mnt/disk; '
          f'mount --bind /mnt/disk {POINT}; '
          f'mount -o remount,bind,ro {POINT}; umount /mnt/disk')
# What Linux answers that does not know them, as before 5.2.
_NO_FSPICK = ('SystemCallFilter=~fspick fsconfig',
              'SystemCallErrorNumber=ENOSYS')


def _hook(command: str) -> str:
    return ('printf \'#!/bin/sh\\nprintf "%%s " "$1" >>/run/hooked\\n'
            f'{command}\\n\' >/etc/hook; chmod 755 /etc/hook; ')


CASES = (
    *_plain('ext4'), *_plain('ext3'), *_plain('ext2', frozen='journal'),
    *_plain('xfs', frozen='journal', options='-o nouuid'),
    *_plain('btrfs'),
    _plain('vfat', verified='unknown', mkfs='mkfs.vfat --mbr=n')[0],
    Case('vfat with a barrier', 'mkfs.vfat --mbr=n $1', filesystems='vfat=1',
         verified='unknown', barrier=True, reason='can be frozen: vfat'),
    *_efi('ext4', 'clean'), *_efi('xfs', 'journal'), *_vfat_elsewhere(),
    Case('virtio-scsi', 'mkfs.ext4 -q $1', f'device=$1; {MOUNT}',
         filesystems='ext4=1', bus='scsi'),
    Case('partitions (MBR, logical)',
         'printf "label: dos\\n,300M\\n,,5\\n,300M\\n" | sfdisk -q $1; '
         'udevadm settle; mkfs.ext4 -q ${1}5',
         f'device=${{1}}5; {MOUNT}', filesystems='ext4=1'),
    Case('partitions (GPT)', f'{_GPT} mkfs.xfs -q ${{1}}2',
         f'mkdir -p {POINT}; mount -o nouuid ${{1}}2 {POINT}',
         filesystems='xfs=1'),
    Case('40 file systems', _FORTY,
         f'{_EACH} mount ${{1}}$i {POINT}$i; done; '
         f'mkdir -p {POINT}; mount --bind {POINT}7 {POINT}',
         f'umount {POINT}; {_EACH} umount {POINT}$i; done',
         filesystems='ext4=40'),
    *_EVERY_OPTION,
    _by_options('vfat', 'mkfs.vfat', *_VFAT_OPTIONS),
    Case('nested mounts', f'{_GPT} mkfs.ext4 -q ${{1}}1; mkfs.xfs -q ${{1}}2',
         f'mkdir -p {POINT}; mount ${{1}}1 {POINT}; mkdir -p {POINT}/in; '
         f'mount -o nouuid ${{1}}2 {POINT}/in',
         f'umount {POINT}/in {POINT}', filesystems='ext4=1,xfs=1'),
    Case('LVM', f'{_LVM} $1; lvcreate -q -y -L 300M -n data wt; '
         'mkfs.ext4 -q /dev/wt/data',
         f'vgchange -q -ay wt; {_VOLUME} {MOUNT}',
         f'umount {POINT}; vgchange -q -an wt', filesystems='ext4=1',
         verified='not-visible'),
    Case('LVM over two volumes', f'{_LVM} $1 $2; '
         'lvcreate -q -y -i 2 -L 300M -n data wt; mkfs.ext4 -q /dev/wt/data',
         f'vgchange -q -ay wt; {_VOLUME} {MOUNT}',
         f'umount {POINT}; vgchange -q -an wt', filesystems='ext4=1',
         reason='lies on other volumes too', verified='not-visible',
         volumes=2),
    Case('md RAID 1 over two volumes', f'{_MD} -l 1 -n 2 $1 $2; '
         'mkfs.ext4 -q /dev/md/wt; mdadm -q --stop /dev/md/wt',
         f'mdadm -q --assemble --run /dev/md/wt $1 $2; '
         f'device=/dev/md/wt; {MOUNT}',
         f'umount {POINT}; mdadm -q --stop /dev/md/wt', filesystems='ext4=1',
         reason='lies on other volumes too', verified='not-visible',
         volumes=2),
    Case('LUKS in the guest', f'{_LUKS}; {_OPEN} '
         'mkfs.ext4 -q /dev/mapper/wtcrypt; cryptsetup close wtcrypt',
         f'{_OPEN} device=/dev/mapper/wtcrypt; {MOUNT}', _CLOSE,
         filesystems='ext4=1', verified='not-visible'),
    Case('LVM in LUKS, with a barrier',
         f'{_LUKS}; {_OPEN} {_LVM} /dev/mapper/wtcrypt; '
         'lvcreate -q -y -L 300M -n data wt; mkfs.xfs -q /dev/wt/data; '
         'vgchange -q -an wt; cryptsetup close wtcrypt',
         f'{_OPEN} udevadm settle; vgchange -q -ay wt; '
         f'mkdir -p {POINT}; mount -o nouuid /dev/wt/data {POINT}',
         f'umount {POINT}; vgchange -q -an wt; cryptsetup close wtcrypt',
         level='filesystem', filesystems='xfs=1', verified='not-visible',
         barrier=True),
    Case('overlay on top', 'mkfs.ext4 -q $1',
         f'mkdir -p /mnt/disk {POINT}; mount $1 /mnt/disk; '
         f'mkdir -p /mnt/disk/upper /mnt/disk/work; mount -t overlay -o '
         f'lowerdir=/etc,upperdir=/mnt/disk/upper,workdir=/mnt/disk/work '
         f'overlay {POINT}', f'umount {POINT} /mnt/disk',
         filesystems='ext4=1'),
    Case('mounted in a container only', 'mkfs.ext4 -q $1',
         'systemd-run -q --unit=matrix -p PrivateMounts=yes sh -c '
         '"mount $1 /mnt; touch /run/mounted; sleep 1000"; '
         'until test -e /run/mounted; do sleep 0.1; done; rm /run/mounted',
         'systemctl stop matrix', filesystems='ext4=1', written=False),
    Case('a swap file', 'mkfs.ext4 -q $1',
         f'device=$1; {MOUNT}; fallocate -l 20M {POINT}/swap; '
         f'chmod 600 {POINT}/swap; mkswap -q {POINT}/swap; '
         f'swapon {POINT}/swap', f'swapoff {POINT}/swap; umount {POINT}',
         filesystems='ext4=1'),
    _unused('mounted nowhere', 'mkfs.ext4 -q $1', level='filesystem',
            verified='clean'),
    _unused('nothing on it', ':', level='filesystem', verified='unknown'),
    _unused('LVM, not mounted', f'{_LVM} $1; '
            'lvcreate -q -y -L 300M -n data wt; mkfs.ext4 -q /dev/wt/data',
            down='vgchange -q -an wt', level='flushed',
            reason='without a mounted file system', verified='not-visible'),
    _unused('a raw device in use', ':',
            'systemd-run -q --unit=matrix sh -c "exec 3<>$1; sleep 1000"; '
            'sleep 0.5', 'systemctl stop matrix', level='flushed',
            reason='without a file system', verified='unknown'),
    _unused('swap', 'mkswap -q $1', 'swapon $1', 'swapoff $1',
            level='flushed', reason='swap', verified='unknown'),
    Case('swap beside a file system',
         f'{_MBR} mkswap -q ${{1}}2; mkfs.ext4 -q ${{1}}1',
         f'swapon ${{1}}2; device=${{1}}1; {MOUNT}',
         f'swapoff ${{1}}2; umount {POINT}', filesystems='ext4=1'),
    Case('already sync', 'mkfs.ext4 -q $1',
         f'mkdir -p {POINT}; mount -o sync $1 {POINT}', filesystems='ext4=1'),
    Case('read-only', 'mkfs.ext4 -q $1',
         f'mkdir -p {POINT}; mount -o ro $1 {POINT}', filesystems='ext4=1',
         verified='clean', written=False),
    Case('nobarrier', 'mkfs.ext4 -q $1',
         f'mkdir -p {POINT}; mount -o nobarrier $1 {POINT}',
         filesystems='ext4=1', level='flushed',
         reason='without write barrier'),
    Case('other options in fstab', 'mkfs.ext4 -q $1',
         f'echo $1 {POINT} ext4 commit=15,sync 0 0 >>/etc/fstab; '
         f'mkdir -p {POINT}; mount -o commit=99 $1 {POINT}',
         f'sed -i /commit=15/d /etc/fstab; umount {POINT}',
         filesystems='ext4=1'),
    Case('read-only bind mount first', 'mkfs.ext4 -q $1',
         f'mkdir -p {POINT} /mnt/disk; mount $1 /mnt/disk; '
         f'mount --bind /mnt/disk {POINT}; '
         f'mount -o remount,bind,ro /mnt/disk',
         f'umount {POINT} /mnt/disk', filesystems='ext4=1'),
    Case('read-only btrfs subvolume first',
         f'mkfs.btrfs -q $1; mkdir -p {POINT}; mount $1 {POINT}; '
         f'btrfs -q subvolume create {POINT}/a; umount {POINT}',
         f'mkdir -p {POINT} /mnt/disk; mount -o subvol=a,ro $1 /mnt/disk; '
         f'mount -o subvol=/,rw $1 {POINT}', f'umount {POINT} /mnt/disk',
         filesystems='btrfs=1'),
    Case('freeze hooks, with a barrier',
         f'{_hook("true")} mkfs.ext4 -q $1',
         down=f'{UMOUNT}; test "$(cat /run/hooked)" = "freeze thaw "; '
              'rm /run/hooked', agent=_HOOKED, barrier=True,
         level='filesystem', verified='clean', filesystems='ext4=1',
         written=False),
    Case('a failing freeze hook, with a barrier',
         f'{_hook("false")} mkfs.ext4 -q $1', agent=_HOOKED,
         barrier=True, filesystems='ext4=1', reason='no barrier',
         written=False),
    Case('IDE', 'mkfs.ext4 -q $1', bus='ide', filesystems='ext4=1'),
    Case('boot volume', ':', _ROOT, _OFF_ROOT, bus='root',
         filesystems='ext4=1'),
    Case('boot volume with a barrier', ':', _ROOT, _OFF_ROOT, bus='root',
         filesystems='ext4=1', level='filesystem', verified='clean',
         barrier=True),
    Case('a kernel without fspick(2)', 'mkfs.ext4 -q $1', agent=_NO_FSPICK,
         filesystems='ext4=1'),
    Case('a kernel without fspick(2), bound read-only', 'mkfs.ext4 -q $1',
         _BOUND, agent=_NO_FSPICK, filesystems='ext4=1', level='filesystem',
         verified='clean', written=False),
    Case('a kernel without fspick(2), bound read-only, never frozen',
         'mkfs.ext4 -q $1', _BOUND, agent=_NO_FSPICK, filesystems='ext4=1',
         level='flushed', reason='older than 5.2',
         methods=('write_through',), written=False),
    Case('guest-exec blocked', 'mkfs.ext4 -q $1', state='without exec',
         filesystems='ext4=1', level='filesystem', verified='clean'),
    _in_state('an agent of QEMU 2.12', 'write-through', filesystems='ext4=1'),
    _in_state('an agent of QEMU 2.4', 'filesystem', filesystems='ext4=1',
              verified='clean'),
    _in_state('an agent of QEMU 2.1', reason='update'),
    _in_state('without agent', reason='no guest agent runs'),
    _in_state('without channel', reason='hw_qemu_guest_agent=yes'),
    _in_state('silent', reason='does not answer'),
    _in_state('paused', reason='does not run'),
    _in_state('suspended', reason='resume it'),
    _in_state('frozen by a host', reason='frozen by somebody else',
              verified='clean'),
    _in_state('frozen by its admin', 'flushed', 'frozen by somebody else',
              filesystems='ext4=1', verified='clean'),
    _in_state('migrating', 'write-through', filesystems='ext4=1'),
    _while_down('shut off', 'no guest runs'),
    _while_down('crashed', 'does not run'),
    _while_down('booting', 'no guest agent runs'),
)


def _named(*names: str, **other: object) -> tuple[Case, ...]:
    return tuple(dataclasses.replace(case, **other) for case in CASES
                 if case.name in names)


# What cannot be frozen has no way to wait for writers, as is needed here.
_OLD_VFAT = {'level': 'flushed', 'reason': 'older than 6.0'}
_VFAT = 'vfat on the whole disk'
_SOME = ('ext4 on the whole disk', 'ext4 with a barrier',
         'xfs on the whole disk', 'xfs with a barrier',
         'btrfs on the whole disk', 'LVM', 'mounted nowhere')
_EFI_ROOT = (f'case $1 in /dev/vda) mkdir -p {POINT} /boot/efi; '
             f'mount ${{1}}1 /boot/efi ;; *) mkdir -p /mnt/root; '
             f'mount ${{1}}2 /mnt/root; mount --bind /mnt/root{POINT} '
             f'{POINT}; esac')
_OFF_EFI_ROOT = (f'case $1 in /dev/vda) umount /boot/efi ;; '
                 f'*) umount {POINT} /mnt/root; rm -r {POINT}; esac')


def _efi_boot(name: str, **expected: object) -> Case:
    return Case(f'boot volume with an EFI system partition{name}', ':',
                _EFI_ROOT, _OFF_EFI_ROOT, bus='root', **expected)


# By the name of the guest's image (tests.support.cloud.image).
GUESTS = {
    'bookworm': CASES,
    'bullseye': (*_named(*_SOME), *_named(_VFAT, **_OLD_VFAT),
                 *_EVERY_OPTION, _by_options(
                     'vfat', 'mkfs.vfat', *_VFAT_OPTIONS,
                     **_OLD_VFAT)),
    'trixie': (*_named(*_SOME, _VFAT), *_EVERY_OPTION, _by_options(
        'vfat', 'mkfs.vfat', *_VFAT_OPTIONS)),
    # Linux 4.15, which has no fspick(2), and Python 3.6. Its mkfs.vfat makes
    # no table of partitions.
    'bionic': (*_named(*_SOME), *_named(_VFAT, make='mkfs.vfat -I $1',
                                        **_OLD_VFAT),
               *_EVERY_OPTION, _by_options(
                   'vfat', 'mkfs.vfat', *_VFAT_OPTIONS,
                   **_OLD_VFAT)),
    'efi': (
        _efi_boot('', filesystems='ext4=1,vfat=1'),
        *(_efi_boot(f', {name}', level='filesystem', verified='clean',
                    reason=_EFI, filesystems='ext4=1', **how)
          for name, how in (('with a barrier', {'barrier': True}),
                            ('freeze only', {'methods': ('freeze',)})))),
    # With the kernel of other than cloud guests.
    'generic': (
        Case('SATA', 'mkfs.ext4 -q $1', bus='sata', filesystems='ext4=1'),
        # Types whose options are not known get no flag: they are frozen, or
        # where they cannot be, flushed.
        Case('f2fs on the whole disk', 'mkfs.f2fs -q $1', level='filesystem',
             filesystems='f2fs=1', verified='unknown'),
        Case('exfat on the whole disk', 'mkfs.exfat $1 >/dev/null',
             level='flushed', reason='exfat', filesystems='exfat=1',
             verified='unknown')),
    # Without Python it is frozen, under a lease of a few lines of shell.
    'minimal': (
        *_named('ext4 on the whole disk', 'ext4 with a barrier',
                written=False, level='filesystem', verified='clean'),
        *_named('mounted nowhere', level='flushed',
                reason='sees no file system')),
}
