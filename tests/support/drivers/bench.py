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


"""A server with a mounted volume and writers, and backups of it."""

import dataclasses
import subprocess
import uuid

import openstack

from tests.support.cloud import backup as backups
from tests.support.cloud import cloud
from tests.support.cloud import configs
from tests.support.cloud import console
from tests.support.cloud import database
from tests.support.cloud import drivers
from tests.support.cloud import layout
from tests.support.cloud import process
from tests.support.cloud import resources
from tests.support.machines import guests
from tests.support.stage import disk
from tests.support.stage import stage
from tests.support.workload import host

POINT = '/mnt/restored'
SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Link:
    """A backup, and what the writers had been promised when it was asked for.

    :ivar metadata: what the plugin says of it; empty: nothing
    """

    identity: str
    promised: host.Status
    metadata: dict[str, str]


class Bench:
    """What operations are tried on.

    :param made: has a server
    :param kind: the volume's type, and so its back end
    :param threads: native threads instead of eventlet
    :param workers: cinder-backup's processes
    :ivar links: a chain of backups, full first
    :ivar looked: what ``look`` returned without the plugin
    """

    def __init__(self, made: stage.Stage, driver: str, kind: str,
                 threads: bool, workers: int) -> None:
        self.stage, self.driver = made, driver
        # The ceph driver has no increments of what is no RBD image.
        self.chains = driver != 'ceph' or kind == resources.VOLUME_TYPE
        self._threads, self._workers = threads, workers
        self.storage = made.cloud.block_storage
        self.guest = guests.Guest(made.domain())
        self.volume = made.volume(1, kind)
        device = made.attach(self.volume)
        disk.make_filesystem(self.guest, device, 'ext4')
        made.enter_context(disk.mounted(self.guest, device))
        self._load = host.Workload(self.guest, disk.MOUNT)
        self._load.start(records_per_second=50, rows_per_second=1)
        made.callback(self._load.stop)
        self.links: list[Link] = []
        self.looked = ''

    def configure(self, plugin: bool) -> None:
        """Start cinder-backup with the driver, the plugin around it or not."""
        make = drivers.plugin if plugin else drivers.stock
        options = make(self.driver, backup_workers=str(self._workers))
        if self._threads:
            options[backups.NATIVE_THREADS] = {}
        cloud.restart_backup(options)

    def back_up(self, **how: object) -> Link:
        """Make a backup of the volume in use.

        :raises CloudError: it was to be incremental, and is not
        """
        promised = self._load.status()
        backup = self.storage.create_backup(volume_id=self.volume, force=True,
                                            **how)
        self.stage.remove_later('backup', backup.id)
        metadata = self.stage.await_backup(backup.id)
        self.await_idle()
        if (how.get('is_incremental')
                and not self.storage.get_backup(backup.id).is_incremental):
            raise console.CloudError(f'backup {backup.id} is a full one')
        return Link(backup.id, promised, metadata or {})

    def look(self) -> str:
        """What an operator sees of cinder-backup, and of its settings."""
        seen = sorted(
            (found.binary, found.host, found.availability_zone, found.status,
             found.state) for found in self.storage.services())
        check = subprocess.run(
            (layout.CINDER_VENV / 'bin' / 'cinder-status',
             '--config-file', layout.CINDER_CONF,
             '--config-file', configs.backup_overlay(layout.HOST),
             'upgrade', 'check'), capture_output=True, text=True,
            timeout=SECONDS,
            env=process.ENVIRONMENT | {'PYTHONPATH': str(layout.ROOT)})
        return f'{seen}\n{check.stdout}ended with {check.returncode}'

    def import_again(self, link: Link) -> None:
        """Export a backup's record, lose it, import it."""
        record = self.storage.export_backup(link.identity)
        self._forget(link)
        # openstacksdk 4.22 posts an import to the path of the export.
        self.storage.post('/backups/import_record', json=record)
        self.stage.await_backup(link.identity)

    def await_idle(self) -> None:
        """Wait until the volume may be backed up again."""
        self.stage.await_volume(self.volume, 'in-use')

    def verify(self, link: Link, volume: str = '') -> None:
        """Restore a backup, and compare it if it claims anything.

        :param volume: restore it there; else to a new volume
        :raises CloudError: something promised is missing
        """
        given = {'volume_id': volume} if volume else {
            'name': f'restored-{uuid.uuid4()}'}
        restored = self.storage.restore_backup(link.identity,
                                               **given).volume_id
        self.stage.await_volume(restored, 'available')
        device = self.stage.attach(restored)
        try:
            with disk.mounted(self.guest, device, POINT):
                if link.metadata:
                    self._compare(link)
        finally:
            self.stage.detach(restored)
            self.storage.delete_volume(restored)

    def delete(self, link: Link, force: bool = False) -> None:
        """Delete a backup; return when it is gone."""
        self.storage.delete_backup(link.identity, force=force,
                                   ignore_missing=False)
        console.wait_for(f'the end of backup {link.identity}',
                         lambda: self._is_gone(link), SECONDS)

    def _forget(self, link: Link) -> None:
        """Remove a backup's rows, as if another cloud had its data."""
        for table, column in (('backup_metadata', 'backup_id'),
                              ('backups', 'id')):
            database.query(f'DELETE FROM cinder.{table} '
                           f'WHERE {column} = %s', link.identity)

    def _is_gone(self, link: Link) -> bool:
        try:
            return self.storage.get_backup(link.identity).status == 'deleted'
        except openstack.exceptions.NotFoundException:
            return True

    def _compare(self, link: Link) -> None:
        lacks = host.missing(self.guest, POINT,
                             self._load.promise(link.promised))
        if lacks:
            raise console.CloudError(f'the copy lacks something: {lacks}')
