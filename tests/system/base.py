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

"""What the tests in the real cloud share: a server, and volumes in it."""

import atexit
import os
import subprocess
from typing import Any
import uuid

import libvirt
from oslo_serialization import jsonutils

from tests.support import bounded
from tests.support.cloud import accounts
from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.cloud import layout
from tests.support.cloud import resources
from tests.support.machines import guests
from tests.support.stage import disk
from tests.support.stage import stage
from tests.support.workload import host


# Seconds for which a server that tests have used may take to answer.
UNWELL = 60


class TestCase(bounded.TestCase):
    """Tests in the cloud; what they make there they remove."""

    seconds = 900

    def setUp(self) -> None:
        super().setUp()
        self.stage = shared_stage().part()
        self.addCleanup(self.stage.close)
        self.connection = self.stage.cloud
        self.storage = self.connection.block_storage

    def server_with_volume(self, kind: str = '') -> None:
        """Have a server, and in it an ext4 mounted that a volume has.

        :param kind: the type of a new volume; else it is the one on RBD that
            tests share
        """
        self.guest = self.stage.boot(stage.MEMORY_MIB)
        if kind:
            self.volume, device = formatted_volume(self.stage, kind)
            self.stage.callback(self.stage.detach, self.volume)
        else:
            self.volume, device = shared_volume()
        mounted = disk.mounted(self.guest, device)
        mounted.__enter__()
        self.stage.callback(mounted.__exit__, None, None, None)

    def writers(self) -> host.Workload:
        """Start writers in a new folder of the mounted volume."""
        # What was written before would fill the volume in the end.
        self.folder = str(uuid.uuid4())
        self.guest.run('sh', '-c', f'rm -rf {disk.MOUNT}/*-*; '
                       f'mkdir {disk.MOUNT}/{self.folder}')
        load = host.Workload(self.guest, f'{disk.MOUNT}/{self.folder}')
        load.start(records_per_second=100, rows_per_second=2)
        self.stage.callback(load.stop)
        return load

    def back_up(self, incremental: bool = False
                ) -> tuple[str, dict[str, str]]:
        """Make a backup of the volume; return its id and metadata."""
        return self.await_backup(self.storage.create_backup(
            volume_id=self.volume, force=True,
            is_incremental=incremental).id)

    def await_backup(self, backup: str) -> tuple[str, dict[str, str]]:
        """Wait for a backup of the volume; return its id and metadata."""
        self.stage.remove_later('backup', backup)
        metadata = self.stage.await_backup(backup)
        self.assertEqual('in-use',
                         self.storage.get_volume(self.volume).status)
        return backup, metadata

    def assert_nothing_lost(self, backup: str, load: host.Workload,
                            status: host.Status, over: str = '') -> None:
        """Restore a backup the stock way and compare it.

        :param over: a volume to restore it to; else a new one
        """
        given = {'volume_id': over} if over else {
            'name': f'restored-{uuid.uuid4()}'}
        volume = self.storage.restore_backup(backup, **given).volume_id
        if not over:
            self.stage.remove_later('volume', volume)
        self.stage.await_volume(volume, 'available')
        device = self.stage.attach(volume)
        point = '/mnt/restored'
        disk.await_device(self.guest, device)
        self.guest.run('sh', '-c', f'mkdir -p {point}; mount {device} {point}')
        try:
            records, rows = host.check(self.guest, f'{point}/{self.folder}',
                                       load.promise(status))
        finally:
            self.guest.run('umount', point)
            self.stage.detach(volume)
        self.assertEqual((0, 0), (records.lost, records.out_of_order),
                         records)
        self.assertEqual(('ok', 0), (rows.integrity, rows.lost), rows)


def formatted_volume(made: stage.Stage, kind: str) -> tuple[str, str]:
    """Attach a new volume with an ext4; return its id and its device."""
    volume = made.volume(1, kind)
    device = made.attach(volume)
    disk.make_filesystem(made.boot(stage.MEMORY_MIB), device, 'ext4')
    return volume, device


# What all tests of this process use: a stage with a server, and a volume.
_stages: list[stage.Stage] = []
_volumes: list[tuple[str, str]] = []


def shared_stage() -> stage.Stage:
    """Return the stage with the server that tests share.

    Another one is booted where a test has left it in a bad state.
    """
    if _stages:
        try:
            guests.Guest(_stages[0].domain()).wait(UNWELL)
            return _stages[0]
        except (guests.GuestError, libvirt.libvirtError) as error:
            console.say(f'the server is not well, another is booted: {error}')
            _leave_shared()
    made = stage.Stage(cloud.connect(), keep=False)
    _stages.append(made)
    made.boot(stage.MEMORY_MIB)
    return made


def shared_volume() -> tuple[str, str]:
    """Return id and device of the volume that tests share, formatted once.

    Another one is made where a test has left it in a bad state.
    """
    made = shared_stage()
    if _volumes and made.cloud.block_storage.get_volume(
            _volumes[0][0]).status != 'in-use':
        _volumes.clear()
    if not _volumes:
        _volumes.append(formatted_volume(made, resources.VOLUME_TYPE))
    return _volumes[0]


@atexit.register
def _leave_shared() -> None:
    _volumes.clear()
    while _stages:
        made = _stages.pop()
        made.close()
        made.cloud.close()


def openstack(*argv: str) -> Any:
    """Run the openstack command; return what it shows."""
    done = subprocess.run(
        (layout.VENV / 'bin' / 'openstack', *argv, '-f', 'json'), text=True,
        capture_output=True, env=os.environ | accounts.CREDENTIALS)
    if done.returncode:
        raise AssertionError(f'openstack {" ".join(argv)}: '
                             f'{done.stderr.strip()}')
    return jsonutils.loads(done.stdout)
