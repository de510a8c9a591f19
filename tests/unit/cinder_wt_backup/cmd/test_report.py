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

import datetime

from cinder import objects

from tests.unit.cinder_wt_backup.cmd import base as commands

BEGAN = datetime.datetime(2026, 1, 1)


class ReportTest(commands.CommandTestCase):

    def stored(self, volume: objects.Volume, number: int,
               **claim: str) -> objects.Backup:
        """Have a backup that was made some minutes after the first."""
        backup = self.backup(volume, status='available', metadata={
            f'wt:{key}': value for key, value in claim.items()})
        backup.created_at = BEGAN + datetime.timedelta(minutes=number)
        backup.save()
        return backup

    def levels(self, *words: str) -> list[tuple[str, str]]:
        return [(row['backup'], row['level'])
                for row in self.rows('report', *words)]

    def test_the_last_backup_of_each_volume(self) -> None:
        one, two = self.volume(), self.volume()
        self.stored(one, 1, level='crash')
        last = self.stored(one, 3, level='write-through')
        other = self.stored(two, 2, level='crash', reason='a silent agent')
        self.assertEqual([(last.id, 'write-through'), (other.id, 'crash')],
                         self.levels())
        self.assertEqual('a silent agent', self.rows('report')[1]['reason'])

    def test_those_of_one_level(self) -> None:
        self.stored(self.volume(), 1, level='write-through')
        other = self.stored(self.volume(), 2, level='crash')
        self.assertEqual([(other.id, 'crash')],
                         self.levels('--level', 'crash'))

    def test_of_one_project_or_volume(self) -> None:
        volume = self.volume()
        backup = self.stored(volume, 1, level='crash')
        self.assertEqual([(backup.id, 'crash')],
                         self.levels('--volume', volume.id))
        self.assertEqual([(backup.id, 'crash')],
                         self.levels('--project', backup.project_id))
        self.assertEqual([], self.levels('--project', 'another'))

    def test_those_that_claim_nothing_when_all_are_asked_for(self) -> None:
        backup = self.stored(self.volume(), 1)
        self.assertEqual([], self.levels())
        self.assertEqual([(backup.id, '-')], self.levels('--all'))

    def test_a_backup_that_failed_is_no_older_one(self) -> None:
        volume = self.volume()
        self.stored(volume, 1, level='write-through')
        failed = self.stored(volume, 2)
        failed.status, failed.fail_reason = 'error', 'more is required'
        failed.save()
        row, = self.rows('report')
        self.assertEqual((failed.id, 'error', '-', failed.fail_reason), (
            row['backup'], row['status'], row['level'], row['reason']))

    def test_what_an_owner_has_written_is_made_plain(self) -> None:
        backup = self.stored(self.volume(), 1, level='\x1b[2J', reason='\x1b]')
        row, = self.rows('report', '--all')
        self.assertEqual((backup.id, '-', '?]'), (
            row['backup'], row['level'], row['reason']))

    def test_more_than_a_page(self) -> None:
        self.useFixture(commands.page_of(2))
        for number in range(5):
            self.stored(self.volume(), number, level='crash')
        self.assertEqual(5, len(self.levels()))
