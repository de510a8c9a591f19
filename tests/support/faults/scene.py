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


"""One server with a volume that is written to, and what must hold of it."""

import contextlib
import copy
import dataclasses
import time
from typing import Any
import uuid

import openstack

from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.cloud import database
from tests.support.cloud import drivers
from tests.support.faults import steps
from tests.support.faults import watch
from tests.support.machines import guests
from tests.support.stage import disk
from tests.support.stage import stage
from tests.support.workload import host

RESTORED = '/mnt/restored'
MEMORY_MIB = 768
WORKERS = 2
# Short, so that a run is; lease exceeds what conf.read wants of it.
OPTIONS = {'agent_timeout': '5', 'drain_timeout': '2', 'window_timeout': '10',
           'lock_timeout': '15', 'lease': '34'}
LEASE = 34
# qemu-ga's own note that it has frozen.
FROZEN = '/run/qga.state.isfrozen'
# How late a busy guest may be with its lease, seconds.
LATE = 5
# Seconds in which a backup ends by itself, if stock Cinder lets it.
SETTLING = 20
PLUGIN = drivers.plugin('posix', OPTIONS, backup_workers=str(WORKERS))
PLUGIN['write_through']['wrapped_driver'] = (
    'tests.support.faults.points.PosixBackupDriver')


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a backup.

    :ivar status: Cinder's, or ``deleted``
    :ivar text: the reason for the level or the failure
    """

    identity: str
    status: str
    level: str = ''
    text: str = ''


class Scene:
    """A guest with a mounted volume and writers, and its backups.

    :ivar guest: the guest
    :ivar volume: the volume's id
    :ivar load: the writers
    :ivar watch: sees how long the guest is changed
    :ivar backup: the backup that is being made
    """

    backup: str

    def __init__(self, made: stage.Stage) -> None:
        self._stage = made
        self.storage = made.cloud.block_storage
        self.configure(barrier=False)
        console.say('booting a server')
        self.guest = made.boot(MEMORY_MIB)
        self.volume = made.volume(1)
        self.device = made.attach(self.volume)
        disk.make_filesystem(self.guest, self.device, 'ext4')
        self.prepare()
        made.callback(made.detach, self.volume)
        # What is interrupted may be in the middle of a backup.
        made.callback(self.idle)
        made.callback(self.guest.run, 'umount', disk.MOUNT)
        made.callback(self.stop_writers)
        made.callback(steps.go)

    def configure(self, barrier: bool) -> None:
        """Start cinder-backup with the plugin, with a barrier or without."""
        self._options = copy.deepcopy(PLUGIN)
        if barrier:
            self._options['write_through']['barrier'] = 'freeze'
        self.restart_backup()

    def restart_backup(self) -> None:
        """Start cinder-backup again, as it was."""
        cloud.restart_backup(self._options)

    def prepare(self) -> None:
        """Mount and start the writers: after every boot."""
        self._folder = str(uuid.uuid4())
        folder = f'{disk.MOUNT}/{self._folder}'
        # What was written before would fill the volume in a long run.
        disk.await_device(self.guest, self.device)
        self.guest.run('sh', '-c', f'mkdir -p {disk.MOUNT}; '
                       f'mount {self.device} {disk.MOUNT}; '
                       f'rm -rf {disk.MOUNT}/*-*; mkdir {folder}')
        self.load = host.Workload(self.guest, folder)
        self.load.start(records_per_second=40, rows_per_second=1)
        self.watch = watch.Watch(self.guest, disk.MOUNT)
        self.before = self.guest.state()

    def once_frozen(self, script: str) -> None:
        """Have the guest run a script a second after its agent has frozen."""
        # Not one that comes later: that of the following backup.
        self.guest.spawn('sh', '-c', f'for i in $(seq 300); do sleep 0.1; '
                         f'test -e {FROZEN} || continue; sleep 1; {script}; '
                         f'break; done')

    def shut_off(self) -> None:
        """Have Nova shut the server down, and start it again."""
        self._stage.stop_server()
        self._stage.start_server()
        self.guest.wait(120)

    def await_nova(self) -> None:
        """Wait until Nova's API can ask the server's host for something.

        What it says into a connection that is broken is lost, and nobody
        knows: a server would never be stopped.
        """
        console.wait_for('a Nova whose API reaches its host',
                         self._stage.has_console, 180,
                         failed=(openstack.exceptions.SDKException,))

    def reconnect(self) -> None:
        """Speak to the guest again after libvirtd was started again."""
        self.guest.domain = self._stage.domain()

    def stop_writers(self) -> None:
        """Let go of the volume."""
        self.load.stop()

    def request(self) -> str:
        """Ask for a backup of the volume in use; return its id."""
        backup = self.storage.create_backup(volume_id=self.volume, force=True)
        return str(backup.id)

    def settled(self, backup: str, timeout: float = SETTLING) -> Outcome:
        """Return what became of a backup; restart the service if nothing.

        Stock Cinder resets a backup whose snapshot failed, or whose process
        is gone, only when cinder-backup is started again.
        """
        end = time.monotonic() + timeout
        while (outcome := self.outcome(backup)).status in ('creating',
                                                           'deleting'):
            if time.monotonic() > end:
                self.restart_backup()
                end = time.monotonic() + timeout
            time.sleep(0.5)
        return outcome

    def recovered(self, timeout: float) -> float:
        """Wait until the guest is as before; return how long it took.

        :raises CloudError: it is not, with what differs
        """
        began = time.monotonic()
        now = ''
        while time.monotonic() - began < timeout:
            with contextlib.suppress(guests.GuestError):
                if (now := self.guest.state()) == self.before:
                    return time.monotonic() - began
            time.sleep(0.3)
        changed = set(now.splitlines()) ^ set(self.before.splitlines())
        raise console.CloudError(f'the guest is not as it was after '
                                 f'{timeout:.0f} s: {sorted(changed)}')

    def check_writers(self) -> None:
        """See that the writers are still writing."""
        records = self.load.status().records
        console.wait_for('the next record of the writer in the guest',
                         lambda: self.load.status().records > records, 30)

    def check_record(self) -> None:
        """See that no window is open on record."""
        console.wait_for(
            'a record without an open window', lambda: not database.query(
                'SELECT value FROM cinder.volume_admin_metadata WHERE '
                '`key` = "wt:open" AND value != "" AND NOT deleted'), 90)

    def verify(self, backup: str, promised: host.Status) -> None:
        """Restore a backup and see that nothing promised is missing.

        :raises CloudError: something is
        """
        volume = self.storage.restore_backup(
            backup, name='restored').volume_id
        self._stage.await_volume(volume, 'available')
        device = self._stage.attach(volume)
        try:
            with disk.mounted(self.guest, device, RESTORED):
                lacks = host.missing(self.guest,
                                     f'{RESTORED}/{self._folder}',
                                     self.load.promise(promised))
        finally:
            self._stage.detach(volume)
            self.storage.delete_volume(volume)
        if lacks:
            raise console.CloudError(f'it claims write-through, but {lacks}')

    def idle(self) -> None:
        """Wait until the next backup may be asked for.

        :raises CloudError: it may not, not even once cinder-backup was
            started again, which resets what nobody works on
        """
        try:
            self._wait_until_in_use()
        except console.CloudError:
            self.restart_backup()
            self._wait_until_in_use()

    def _wait_until_in_use(self) -> None:
        console.wait_for(
            f'volume {self.volume} in use', lambda: self.storage.get_volume(
                self.volume).status == 'in-use', 30,
            failed=(openstack.exceptions.SDKException,))

    def clean(self) -> Outcome:
        """Make one more backup, with nothing in its way."""
        steps.go()
        self.idle()
        backup = self.request()
        outcome = self.settled(backup)
        self.remove(backup)
        return outcome

    def remove(self, backup: str) -> None:
        """Ask for a backup's end; it need not be waited for."""
        with contextlib.suppress(openstack.exceptions.SDKException):
            self.storage.delete_backup(backup)

    def outcome(self, backup: str) -> Outcome:
        """Return what became of a backup so far."""
        try:
            found: Any = self.storage.get_backup(backup)
        except openstack.exceptions.NotFoundException:
            return Outcome(backup, 'deleted')
        except openstack.exceptions.SDKException as error:
            # The API may be without its database for a moment.
            return Outcome(backup, 'creating', text=str(error))
        metadata = found.metadata or {}
        return Outcome(backup, found.status, metadata.get('wt:level', ''),
                       found.fail_reason or metadata.get('wt:reason', ''))
