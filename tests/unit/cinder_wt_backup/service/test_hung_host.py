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

import threading
import time

from cinder import objects

from tests.unit import base
from tests.unit.fixtures import cinder

MANY = 40
HANGS = 3


class HungHostTest(base.BackupTestCase):
    """A compute host whose libvirt does not answer; cases.md, H5."""

    options = {'agent_timeout': 1}

    def setUp(self) -> None:
        super().setUp()
        self.backups = [self.backup(self.attached()) for _ in range(MANY)]
        self.libvirt.hang = HANGS

    def request(self, backup: objects.Backup) -> None:
        self.manager.create_backup(
            self.context, cinder.through_rpc(self.context, backup))

    def test_all_others_go_on(self) -> None:
        old = self.create(self.backup(self.volume()))
        older = self.create(self.backup(self.volume()))
        began = time.monotonic()
        requests = [threading.Thread(target=self.request, args=[backup])
                    for backup in self.backups]
        for request in requests:
            request.start()
        target = self.volume(status='restoring-backup')
        old.status = 'restoring'
        old.save()
        cinder.restore(self.manager, self.context, old, target)
        older.status = 'deleting'
        older.save()
        self.manager.delete_backup(self.context, older)
        self.assertEqual('available', self.create(
            self.backup(self.volume())).status)
        for request in requests:
            request.join()
        cinder.process().queue.join()
        self.cinder_volume.join()
        # One after the other, each would have waited for a second.
        self.assertLess(time.monotonic() - began, MANY * 0.75)
        for backup in self.backups:
            backup.refresh()
        self.assertEqual({('available', 'crash')}, {
            (backup.status, backup.metadata['wt:level'])
            for backup in self.backups})
        self.assertTrue(any('has not come back for' in backup.metadata[
            'wt:reason'] for backup in self.backups))
