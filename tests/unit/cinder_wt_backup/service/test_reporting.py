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


from typing import Any

from cinder import objects
import fixtures
from oslo_db import exception as db_exception
import tenacity

from cinder_wt_backup.claims import claim as claims
from tests.unit.cinder_wt_backup.service import test_backup_windows

Level = claims.Level


class ReportingTest(test_backup_windows.BackupsTestCase):

    def test_the_claim_is_notified(self) -> None:
        volume, backup = self.requested()
        self.make(volume, backup)
        self.assertEqual([('backup.consistency', backup.id, 'write-through')],
                         [(message['event_type'],
                           message['payload']['backup_id'],
                           message['payload']['consistency']['wt:level'])
                          for message in self.notifier.notifications])

    def test_a_database_that_comes_back_has_the_claim(self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.service.store._stubbornly.wait',
            tenacity.wait_none()))
        volume, backup = self.requested()
        update, gone = objects.Volume.admin_metadata_update, [1, 1, 1]

        def fail_first(*args: Any) -> None:
            if gone:
                gone.pop()
                raise db_exception.DBConnectionError()
            update(*args)
        with fixtures.MonkeyPatch(
                'cinder.objects.Volume.admin_metadata_update', fail_first):
            claim = self.make(volume, backup)
        self.assertEqual(Level.WRITE_THROUGH, claim.level)

    def test_the_last_backups_claim_is_not_this_ones(self) -> None:
        volume, backup = self.requested()
        self.make(volume, backup)
        second = self.backup(volume, service='posix')
        self.assertEqual(Level.CRASH,
                         self.claim(volume, second).level)

    def test_every_claim_is_logged(self) -> None:
        log = self.useFixture(fixtures.FakeLogger())
        volume, backup = self.requested()
        self.make(volume, backup)
        self.assertIn(f'Backup {backup.id} of volume {volume.id} is '
                      f'write-through', log.output)

    def test_one_warning_says_what_is_missing_and_what_to_do(self) -> None:
        volume, backup = self.requested()
        self.domain.channel = ''
        log = self.useFixture(fixtures.FakeLogger(level=30))
        self.make(volume, backup)
        self.assertEqual(1, log.output.count('\n'))
        self.assertIn('hw_qemu_guest_agent=yes', log.output)
