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


"""A libvirt that accepts a connection and then says nothing.

Its call blocks in C: neither other backups of the same process nor the
service's heartbeat may wait for it, in either way to be concurrent.
"""

import contextlib
import socket
import time

from tests.support.cloud import backup as backups
from tests.support.cloud import cloud
from tests.support.cloud import database
from tests.support.cloud import drivers
from tests.support.cloud import layout
from tests.support.stage import stage
from tests.system import base

SILENCE = 30
# cinder-backup of the test cloud beats every 2 s.
LATE = 10


class BlockingTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.stage.boot(stage.MEMORY_MIB)
        self.volume = self.stage.volume(1)
        self.stage.attach(self.volume)
        self.detached = self.stage.volume(1)

    def test_nobody_else_waits_for_a_silent_libvirt(self) -> None:
        for sections in ({}, {backups.NATIVE_THREADS: {}}):
            with contextlib.closing(socket.create_server(
                    (layout.ADDRESS, 0))) as silent:
                uri = f'qemu+tcp://{{host}}:{silent.getsockname()[1]}/system'
                cloud.restart_backup(sections | drivers.plugin('posix', {
                    'agent_timeout': str(SILENCE), 'libvirt_uri': uri}))
                self.make_two()

    def make_two(self) -> None:
        """Back up a volume whose host is silent, and meanwhile another."""
        blocked = self.request(self.volume)
        other = self.request(self.detached)
        self.watch_heartbeat_until_stored(other)
        self.assertEqual('creating', self.status(blocked))
        metadata = self.stage.await_backup(blocked)
        self.assertEqual('crash', metadata['wt:level'], metadata)
        self.assertIn('did not answer within', metadata['wt:reason'])

    def request(self, volume: str) -> str:
        """Ask for a backup; return its id."""
        backup = self.storage.create_backup(volume_id=volume, force=True).id
        self.stage.remove_later('backup', backup)
        return str(backup)

    def status(self, backup: str) -> str:
        return str(self.storage.get_backup(backup).status)

    def watch_heartbeat_until_stored(self, backup: str) -> None:
        """See that the service goes on telling that it lives."""
        beat, seen, began = None, time.monotonic(), time.monotonic()
        # Longer than a beat, so that one is seen.
        while (time.monotonic() - began < LATE
               or self.status(backup) != 'available'):
            self.assertLess(time.monotonic() - began, SILENCE)
            last = database.query(
                'SELECT updated_at FROM cinder.services '
                'WHERE `binary` = "cinder-backup" AND NOT deleted')
            if last != beat:
                beat, seen = last, time.monotonic()
            self.assertLess(time.monotonic() - seen, LATE)
            time.sleep(0.5)
