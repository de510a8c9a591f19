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

    DEFAULT_TIMEOUT = 900

    def setUp(self) -> None:
        super().setUp()
        self.stage = shared_stage().part()
        self.addCleanup(self.stage.close)
        self.connection = self.stage.cloud
        self.storage = self.connection.block_storage

    def server_with_volume(self, kind: str = resources.VOLUME_TYPE) -> None:
        """Boot a server and mount a new volume with an ext4 in it."""
        self.guest = self.stage.boot(stage.MEMORY_MIB)
        self.volume = self.stage.volume(1, kind)
        self.device = self.stage.attach(self.volume)
        disk.make_filesystem(self.guest, self.device, 'ext4')
        mounted = disk.mounted(self.guest, self.device)
        mounted.__enter__()
        self.stage.callback(self.stage.detach, self.volume)
        self.stage.callback(mounted.__exit__, None, None, None)

    def writers(self) -> host.Workload:
        """Start writers on the mounted volume."""
        load = host.Workload(self.guest, disk.MOUNT)
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
            records, rows = host.check(self.guest, point,
                                       load.promise(status))
        finally:
            self.guest.run('umount', point)
            self.stage.detach(volume)
        self.assertEqual((0, 0), (records.lost, records.out_of_order),
                         records)
        self.assertEqual(('ok', 0), (rows.integrity, rows.lost), rows)


_shared: list[stage.Stage] = []


def shared_stage() -> stage.Stage:
    """Return the stage with the server that all tests of this process use.

    Another one is booted where a test has left it in a bad state.
    """
    if _shared:
        try:
            guests.Guest(_shared[0].domain()).wait(UNWELL)
            return _shared[0]
        except (guests.GuestError, libvirt.libvirtError) as error:
            console.say(f'the server is not well, another is booted: {error}')
            _leave_shared()
    made = stage.Stage(cloud.connect(), keep=False)
    _shared.append(made)
    made.boot(stage.MEMORY_MIB)
    return made


@atexit.register
def _leave_shared() -> None:
    while _shared:
        made = _shared.pop()
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
