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

"""A compute host that does not answer is nobody else's affair.

Its calls block in C, and hang: neither other backups of the same process, nor
restores, deletions and the service's heartbeat may wait for them, in either
way to be concurrent. And a guest that is slow on purpose takes from others
what they do not need.
"""

from collections.abc import Iterator
import contextlib
import os
import signal
import time

from tests.support.cloud import backup as backups
from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.cloud import database
from tests.support.cloud import drivers
from tests.support.machines import plugin
from tests.support.stage import stage
from tests.system import base

# cinder-backup of the test cloud beats every 2 s.
LATE = 10
# Transfers at once: so many that a beat waits for nothing but what hangs.
TRANSFERS = 4
# What all others want is done by then; it takes a GiB 2 s.
ALL_LATE = 240
# For one answer of libvirt or of an agent.
SILENCE = 10
ATTACHED = 3
# Volumes of others: each is backed up, restored, and a backup of it deleted.
OTHERS = 14
# What has the agent answer everything at the last moment.
SLOW_AGENT = ('pid=$(pidof qemu-ga); while sleep 0.3; do kill -STOP $pid; '
              'sleep 6; kill -CONT $pid; done')


class BusyTestCase(base.TestCase):
    """Some volumes of one server, and what others want meanwhile.

    By a command of its own: it takes minutes, and disturbs other suites.
    """

    def setUp(self) -> None:
        if not os.environ.get('TENANTS'):
            self.skipTest('make tenants runs it')
        super().setUp()
        self.guest = self.stage.boot(stage.MEMORY_MIB)
        self.attached = [self.stage.volume(1) for _ in range(ATTACHED)]
        for volume in self.attached:
            self.stage.attach(volume)
        self.detached = [self.stage.volume(1) for _ in range(OTHERS)]

    def request(self, volume: str) -> str:
        """Ask for a backup; return its id."""
        backup = self.storage.create_backup(volume_id=volume, force=True).id
        self.stage.remove_later('backup', backup)
        return str(backup)

    def use_others(self, old: list[str], older: list[str]) -> list[str]:
        """See that backups, restores and deletions go on meanwhile.

        :param old: backups that are restored
        :param older: those that are deleted
        :returns: the backups that were made
        """
        restored = [self.storage.restore_backup(
            backup, name='restored').volume_id for backup in old]
        for volume in restored:
            self.stage.remove_later('volume', volume)
        for backup in older:
            self.storage.delete_backup(backup)
        made = [self.request(volume) for volume in self.detached]
        self.watch_heartbeat_until_stored(made)
        for volume in restored:
            self.stage.await_volume(volume, 'available')
        for backup in older:
            console.wait_for(
                'the deletion of a backup', lambda: not database.query(
                    'SELECT id FROM cinder.backups WHERE id = %s '
                    'AND NOT deleted', backup), 30)
        return made

    def status(self, backup: str) -> str:
        return str(self.storage.get_backup(backup).status)

    def watch_heartbeat_until_stored(self, made: list[str]) -> None:
        """See that the service goes on telling that it lives."""
        beat, seen, began = None, time.monotonic(), time.monotonic()
        # Longer than a beat, so that one is seen.
        while (time.monotonic() - began < LATE or any(
                self.status(backup) != 'available' for backup in made)):
            self.assertLess(time.monotonic() - began, ALL_LATE)
            last = database.query(
                'SELECT updated_at FROM cinder.services '
                'WHERE `binary` = "cinder-backup" AND NOT deleted')
            if last != beat:
                beat, seen = last, time.monotonic()
            self.assertLess(time.monotonic() - seen, LATE)
            time.sleep(0.5)

    def stored(self, *volumes: str) -> list[str]:
        """Have backups made; return them."""
        made = [self.request(volume) for volume in volumes]
        for backup in made:
            self.stage.await_backup(backup)
        return made


class HungHostTest(BusyTestCase):
    """Nothing else may use the cloud's libvirtd meanwhile."""

    def test_nobody_waits_for_it_and_it_is_not_asked_again(self) -> None:
        cloud.restart_backup(drivers.plugin('posix'))
        old = self.stored(*self.detached)
        older = self.stored(*self.detached)
        for sections in ({}, {backups.NATIVE_THREADS: {}}):
            cloud.restart_backup(sections | drivers.plugin('posix', {
                'agent_timeout': str(SILENCE)},
                backup_max_operations=str(TRANSFERS)))
            with _stopped('libvirtd'):
                blocked = [self.request(volume) for volume in self.attached]
                older = self.use_others(old, older)
                reasons = [self.stage.await_backup(backup)['wt:reason']
                           for backup in blocked]
            self.assertEqual(1, sum('did not answer within' in reason
                                    for reason in reasons), reasons)
            self.assertEqual(ATTACHED - 1, sum(
                'has not come back for' in reason for reason in reasons),
                reasons)
            # The call that hung comes back, and it is asked again.
            backup = self.request(self.attached[0])
            # There is nothing on it that could be dirty.
            self.assertEqual('filesystem', self.stage.await_backup(
                backup)['wt:level'])


class HostileGuestTest(BusyTestCase):
    """A guest that is slow on purpose."""

    def test_others_go_on_while_its_windows_take_their_time(self) -> None:
        # One window at a time, so that all others have to wait for it.
        options = {'agent_timeout': SILENCE, 'drain_timeout': 5,
                   'max_windows': 1}
        cloud.restart_backup(drivers.plugin('posix', {
            name: str(value) for name, value in options.items()},
            backup_max_operations=str(TRANSFERS)))
        settings = plugin.settings(**options)
        old = self.stored(*self.detached)
        older = self.stored(*self.detached)
        self.guest.spawn('sh', '-c', SLOW_AGENT)
        began = time.monotonic()
        blocked = [self.request(volume) for volume in self.attached]
        self.use_others(old, older)
        for backup in blocked:
            self.stage.await_backup(backup)
        # Each has its time, and no more.
        self.assertLess(time.monotonic() - began, ATTACHED * (
            settings.opening_timeout + settings.closing_timeout + 2 * LATE))


@contextlib.contextmanager
def _stopped(name: str) -> Iterator[None]:
    """Stop a service of the cloud, as by SIGSTOP, while the body runs."""
    pid = cloud.daemon(name).pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
