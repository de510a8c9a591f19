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

"""``make pulse``: writers in the midst of a long write(2), on old kernels.

Before Linux 6.0 a write(2) looks at the sync flag when it begins, so that one
in progress is acknowledged without it. In a real guest a writer with calls of
64 MiB runs, on a disk that takes some hundred milliseconds for each, while
windows are opened and the disk is copied; then what was acknowledged before
the copy is looked for in it. Once with the pulse, once without.
"""

import argparse
import collections
import contextlib
import pathlib
import sys
import unittest.mock
import xml.etree.ElementTree

import libvirt

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.guest.guardian import client as guardian
from cinder_wt_backup.guest import reach
from cinder_wt_backup.service import process
from cinder_wt_backup.window import volume as windows
from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.cloud import image
from tests.support.cloud import layout
from tests.support.machines import live_machine
from tests.support.machines import machine as machines
from tests.support.machines import plugin

POINT = '/mnt/pulse'
WRITE_MIB, WRITES = 64, 14
PAGE = 4096
CLAIMED = 'although write-through was claimed'
BYTES_PER_SECOND = 80 << 20
# A call waits for the disk once so much is dirty, and nobody else writes it.
DIRTY = (('dirty_bytes', 32 << 20), ('dirty_background_bytes', 31 << 20))
# Each page has the number of its write; the lines say what has returned.
WRITER = '''
import os, sys
size, page = %d << 20, %d
acknowledged = os.open('/run/acknowledged', os.O_WRONLY | os.O_CREAT
                       | os.O_TRUNC | os.O_APPEND)
for number in range(%d):
    content = (b'PULSE%%011d' %% number * (page // 16)) * (size // page)
    file = os.open('%s/%%d' %% number, os.O_WRONLY | os.O_CREAT)
    assert os.write(file, content) == size
    os.write(acknowledged, b'%%d\\n' %% number)
    os.close(file)
''' % (WRITE_MIB, PAGE, WRITES, POINT)


def main() -> int:
    """Try each guest and type; 1 when something was lost with the pulse."""
    parser = argparse.ArgumentParser(prog='make pulse PULSE=...',
                                     description=__doc__)
    parser.add_argument('--rounds', type=int, default=5, metavar='N')
    parser.add_argument('--guest', action='append', metavar='NAME',
                        help='default: bionic (4.15) and bullseye (5.10)')
    given = parser.parse_args()
    cloud.up(['libvirtd'])
    plugin.start_locks()
    wrong = False
    for name in given.guest or ('bionic', 'bullseye'):
        image.IMAGES[name].ensure()
        machine = live_machine.LiveMachine(image.IMAGES[name], 'ide')
        kernel = machine.shell('uname -r')
        for setting, value in DIRTY:
            machine.shell(f'echo {value} >/proc/sys/vm/{setting}')
        for kind in ('ext4', 'xfs'):
            for wish in (guardian.PulseWish.NEEDED, guardian.PulseWish.NEVER):
                lost = [_lost(machine, kind, wish)
                        for _round in range(given.rounds)]
                console.say(f'{kernel}, {kind}, pulse {wish}: '
                            + '; '.join(lost))
                wrong |= (wish == guardian.PulseWish.NEEDED
                          and any(CLAIMED in each for each in lost))
        machine.remove()
    return int(wrong)


def _lost(machine: machines.Machine, kind: str, wish: str) -> str:
    """Make one window; say how much of what was acknowledged is missing."""
    disk = machine.add_disk()
    with contextlib.ExitStack() as stack:
        stack.callback(machine.detach, disk)
        machine.shell(f'mkfs.{kind} -q /dev/{disk.name}; mkdir -p {POINT}; '
                      f'mount /dev/{disk.name} {POINT}')
        stack.callback(machine.shell, f'umount {POINT}', 120)
        machine.guest.domain.setBlockIoTune(_target(machine, disk), {
            libvirt.VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC: BYTES_PER_SECOND
        }, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        machine.guest.put('/run/writer.py', WRITER.encode())
        writer = machine.guest.spawn('python3', '/run/writer.py')
        stack.callback(console.wait_for, 'the writer\'s end',
                       lambda: machine.guest.result(writer) is not None, 300)
        console.wait_for('something written', lambda: _acknowledged(machine),
                         60)
        proof, number, copy = _window(machine, disk, wish)
    missing = _missing(copy, number)
    claimed = proof.level >= claims.Level.WRITE_THROUGH
    return (f'{missing} MiB of {number * WRITE_MIB} missing'
            + (f' {CLAIMED}' if missing and claimed else '')
            + f' ({proof.level.value})')


def _target(machine: machines.Machine, disk: machines.Disk) -> str:
    """Return what libvirt calls a disk."""
    tree = xml.etree.ElementTree.fromstring(machine.guest.domain.XMLDesc())
    return next(each.find('target').attrib['dev'] for each
                in tree.iterfind('devices/disk')
                if each.find('source').attrib.get('file') == str(disk.path))


def _window(machine: machines.Machine, disk: machines.Disk, wish: str
            ) -> tuple[claims.Claim, int, pathlib.Path]:
    window = windows.Window(
        [reach.Target(disk.volume, machines.PROJECT, machine.instance,
                      (layout.LIBVIRT_TCP_URI,))],
        plugin.settings(methods=['write_through']), process.lock)
    real = guardian.StartRequest.fields
    with unittest.mock.patch.object(
            guardian.StartRequest, 'fields', lambda self: dict(real(self),
                                                               pulse=wish)):
        window.open()
    number = _acknowledged(machine)
    copy = disk.snapshot()
    window.cover()
    return window.close(), number, copy


def _acknowledged(machine: machines.Machine) -> int:
    return len(machine.shell('cat /run/acknowledged || true').split())


def _missing(copy: pathlib.Path, number: int) -> int:
    """Return how many MiB of that many writes are not in a copy."""
    found: collections.Counter[bytes] = collections.Counter()
    with copy.open('rb') as file:
        while content := file.read(PAGE):
            if content.startswith(b'PULSE'):
                found[content[5:16]] += 1
    copy.unlink()
    pages = (WRITE_MIB << 20) // PAGE
    return sum(pages - min(pages, found[b'%011d' % each])
               for each in range(number)) * PAGE >> 20


if __name__ == '__main__':
    sys.exit(main())
