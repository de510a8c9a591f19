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

"""What the functional tests share: one guest, and windows on its volumes."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import functools
import pathlib
import time


from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.guest import reach
from cinder_wt_backup.service import process
from cinder_wt_backup.window import volume as windows
from tests.support import bounded
from tests.support.cloud import layout
from tests.support.machines import live_machine
from tests.support.machines import machine
from tests.support.machines import plugin
from tests.support.workload import host


@functools.cache
def shared_machine() -> live_machine.LiveMachine:
    """The guest that all tests of this process use: it takes 20 s to boot."""
    return live_machine.LiveMachine()


class TestCase(bounded.TestCase):
    """Tests on the shared guest, which each must leave as it found it."""

    def setUp(self) -> None:
        super().setUp()
        self.machine = self.booted()
        self.mounted: list[str] = []
        plugin.start_locks()

    def booted(self) -> machine.Machine:
        """Return the guest that the tests use."""
        return shared_machine()

    def volume(self, bus: str = 'virtio') -> machine.Disk:
        """Attach an empty volume for this test."""
        disk = self.machine.add_disk(bus=bus)
        self.addCleanup(self.machine.detach, disk)
        return disk

    def mount(self, device: str, mkfs: str, options: str = 'defaults') -> str:
        """Make a filesystem on a device and mount it; return where."""
        point = f'/mnt/{device}'
        self.machine.shell(f'{mkfs} /dev/{device} >/dev/null; '
                           f'mkdir -p {point}; '
                           f'mount -o {options} /dev/{device} {point}')
        self.addCleanup(self.machine.shell, f'umount {point}')
        return point

    def hide(self, *programs: str) -> None:
        """Have the guest lack some programs, for this test."""
        for program in programs:
            self.machine.shell(f'mv {program} {program}.hidden')
            self.addCleanup(self.machine.shell,
                            f'mv {program}.hidden {program}')

    def target(self, disk: machine.Disk, **other: object) -> reach.Target:
        """Return the volume as attachments.locate would."""
        values = {'volume': disk.volume, 'project': machine.PROJECT,
                  'instance': self.machine.instance,
                  'uris': (layout.LIBVIRT_TCP_URI,)}
        return reach.Target(**(values | other))

    @contextlib.contextmanager
    def window(self, *disks: machine.Disk, **values: object
               ) -> Iterator[list[claims.Claim]]:
        """Keep a window open; the list has the verdict afterwards."""
        opened = windows.Window([self.target(disk) for disk in disks],
                                plugin.settings(**values), process.lock)
        verdict: list[claims.Claim] = []
        opened.open()
        try:
            yield verdict
            opened.cover()
        finally:
            verdict.append(opened.close())

    def restored(self, snapshot: pathlib.Path) -> machine.Disk:
        """Attach a point in time as a volume of its own."""
        disk = self.machine.add_disk(snapshot)
        self.addCleanup(self.machine.detach, disk)
        return disk

    def writers(self, point: str) -> host.Workload:
        """Start writers that know what was acknowledged to them."""
        load = host.Workload(self.machine.guest, point)
        load.start(records_per_second=100, rows_per_second=2)
        self.addCleanup(load.stop)
        return load

    def assert_nothing_lost(self, load: host.Workload, status: host.Status,
                            device: str, mount_options: str = 'defaults',
                            folder: str = '') -> None:
        """Mount a restored device and compare it with what was promised."""
        point = f'/mnt/check-{device}'
        self.machine.shell(f'mkdir -p {point}; mount -o {mount_options} '
                           f'/dev/{device} {point}')
        try:
            records, rows = host.check(
                self.machine.guest, point + folder, load.promise(status))
        finally:
            self.machine.shell(f'umount {point}')
        self.assertEqual((0, 0), (records.lost, records.out_of_order),
                         records)
        self.assertEqual(('ok', 0), (rows.integrity, rows.lost), rows)

    def unchanged_by(self, before: str) -> None:
        """See that the guest is as it was, to the last byte."""
        self.assertEqual(before, self.machine.guest.state())


class OpenWindowTestCase(TestCase):
    """A file system, and windows that are open by themselves."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = self.volume()
        self.point = self.mount(self.disk.name, 'mkfs.ext4 -q')
        self.before = self.machine.guest.state()

    def open(self, **values: object) -> windows.Window:
        """Open a window; whether it is closed is the test's affair."""
        opened = windows.Window([self.target(self.disk)],
                                plugin.settings(**values), process.lock)
        opened.open()
        self.assert_synchronous()
        return opened

    def assert_synchronous(self) -> None:
        """See that the file system has the flag."""
        self.assertIn('rw,sync', self.machine.shell(
            f'grep " {self.point} " /proc/self/mountinfo'))

    def assert_put_back_in(self, seconds: float) -> None:
        """Wait until the guest is as it was."""
        end = time.monotonic() + seconds
        while self.machine.guest.state() != self.before:
            if time.monotonic() > end:
                self.unchanged_by(self.before)
            time.sleep(0.5)


def kinds(verdict: Sequence[claims.Claim]) -> dict[str, int]:
    """Return the filesystems that a window's verdict counts."""
    return dict(verdict[0].filesystems)
