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

"""Both backups from the same state, restored and checked the same way."""

import argparse
import dataclasses

from tests.reports.demo import command
from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.cloud import drivers
from tests.support.stage import disk
from tests.support.stage import stage
from tests.support.workload import host
from tests.support.workload.inside import checker
from tests.support.workload import verdict

STOCK: dict[str, dict[str, str]] = {}
PLUGIN = drivers.plugin('posix')
_GIBIBYTES = 1
_MEMORY_MIB = 1536


@dataclasses.dataclass(frozen=True)
class _Taken:
    """A backup, and what is known about it before it is restored."""

    identity: str
    promise: checker.Promise
    dirty_mib: int
    stall_ms: float
    changes: list[str]
    metadata: dict[str, str]


class Scenario:
    """One server, one volume on it, a backup with each driver."""

    def __init__(self, scene: stage.Stage, options: argparse.Namespace,
                 ) -> None:
        self._scene = scene
        self._options = options
        console.say(f'booting a server with {_MEMORY_MIB} MiB')
        self._guest = scene.boot(_MEMORY_MIB)
        disk.keep_dirty_pages(self._guest)
        console.say('server booted, its guest agent answers; writeback '
                    'thresholds in this guest raised, so that dirty pages '
                    'stay where they are')

    def play(self) -> tuple[verdict.Outcome, verdict.Outcome]:
        """Return what came of stock Cinder's backup and of the plugin's."""
        volume = self._scene.volume(_GIBIBYTES)
        device = self._scene.attach(volume)
        self._scene.throttle(volume, self._options.throttle)
        console.say(f'volume of {_GIBIBYTES} GiB attached, throttled to '
                    f'{self._options.throttle} MB/s')
        stock = self._back_up('stock Cinder', STOCK, volume, device)
        plugin = self._back_up('the plugin', PLUGIN, volume, device)
        self._scene.detach(volume)
        return (self._restore('stock Cinder', stock),
                self._restore('the plugin', plugin))

    def _back_up(self, name: str, options: dict[str, dict[str, str]],
                 volume: str, device: str) -> _Taken:
        cloud.restart_backup(options)
        console.say(f'cinder-backup runs with {name}')
        disk.make_filesystem(self._guest, device, self._options.fs)
        with disk.mounted(self._guest, device):
            console.say(f'volume formatted ({self._options.fs}), mounted')
            return self._back_up_under_load(volume)

    def _back_up_under_load(self, volume: str) -> _Taken:
        load = host.Workload(self._guest, disk.MOUNT)
        try:
            load.start(self._options.records)
            console.say('workload started: records and database rows')
            load.fill(self._options.dirty)
            return self._back_up_now(load, volume)
        finally:
            load.stop()

    def _back_up_now(self, load: host.Workload, volume: str) -> _Taken:
        before = disk.settings(self._guest)
        dirty = disk.dirty_mib(self._guest)
        status = load.status()
        console.say(f'{dirty} MiB dirty in the guest; {status.records} '
                    f'records and {status.rows} rows acknowledged')
        backup = command.openstack('volume', 'backup', 'create', '--force',
                                   volume)
        self._scene.remove_later('backup', backup['id'])
        metadata = self._scene.await_backup(backup['id'])
        after = load.status(status.now_ns)
        console.say(f'backup available; {after.records} records by now')
        changes = [f'{old} became {new}' for old, new
                   in zip(before, disk.settings(self._guest), strict=True)
                   if old != new]
        return _Taken(backup['id'], load.promise(status), dirty,
                      after.longest_since_ms, changes, metadata)

    def _restore(self, name: str, taken: _Taken) -> verdict.Outcome:
        restored = command.openstack(
            'volume', 'backup', 'restore', taken.identity,
            f'restored-{taken.identity}')
        volume = restored['volume_id']
        self._scene.remove_later('volume', volume)
        self._scene.await_volume(volume, 'available')
        device = self._scene.attach(volume)
        console.say(f'backup of {name} restored, attached')
        with disk.mounted(self._guest, device):
            records, rows = host.check(self._guest, disk.MOUNT,
                                       taken.promise)
        self._scene.detach(volume)
        console.say(f'{name}: {records.lost} of {records.required} records '
                    f'lost, {rows.lost} of {rows.required} rows')
        return verdict.Outcome(taken.dirty_mib, records, rows,
                               taken.stall_ms, taken.changes,
                               taken.metadata)
