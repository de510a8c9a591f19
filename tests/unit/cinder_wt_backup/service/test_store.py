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

import dataclasses
import time
from typing import Any

from cinder import context as cinder_context
from cinder import objects
import ddt

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.service import store
from tests.unit import base

Level = claims.Level
BACKUP = '18d13274-c707-4208-8b89-b1bf606cb2c9'
LONG = claims.Claim(
    Level.WRITE_THROUGH, 'r' * 300, 'write_through+freeze',
    {f'{number:032}': 4096 for number in range(20)}, 3600000, 3600000)


@ddt.ddt
class RecordTest(base.CinderTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.id = self.volume().id
        self.entry = store.Entry(BACKUP, 'f' * 32, time.time() + 9,
                                 '4194304/18446744073709551615')

    def open(self, host: str = 'testhost') -> None:
        store.opened(self.context, self.id, host, self.entry)

    def close(self, proof: claims.Claim | None,
              keep: bool = False) -> None:
        store.closed(self.context, self.id, BACKUP, proof,
                     self.entry if keep else None)

    def verdict(self, backup: str = BACKUP) -> Any:
        return store.verdict(self.context, self.id, backup)

    def left_open(self, host: str = 'testhost') -> list[Any]:
        return [(volume.id, entry) for volume, entry
                in store.left_open(self.context, host)]

    def test_an_open_window_is_found_by_its_volume_and_its_host(self) -> None:
        self.open()
        self.assertEqual(self.entry,
                         store.window_of(self.context, self.id))
        self.assertEqual([(self.id, self.entry)], self.left_open())
        self.assertEqual([], self.left_open('other'))

    def test_a_closed_window_is_not(self) -> None:
        self.open()
        self.close(claims.Claim(Level.CRASH))
        self.assertIsNone(store.window_of(self.context, self.id))
        self.assertEqual([], self.left_open())

    def test_a_window_whose_guest_was_not_put_back_is(self) -> None:
        self.open()
        self.close(claims.Claim(Level.CRASH), keep=True)
        nobodys = dataclasses.replace(self.entry, process='')
        self.assertEqual([(self.id, nobodys)], self.left_open())
        self.assertEqual(Level.CRASH, self.verdict().level)

    def test_a_freeze_is_of_its_window_only(self) -> None:
        self.open()
        store.frozen(self.context, self.id, 'another')
        self.assertFalse(store.window_of(self.context, self.id).frozen)
        store.frozen(self.context, self.id, self.entry.token)
        self.assertTrue(store.window_of(self.context, self.id).frozen)
        self.open()
        self.assertFalse(store.window_of(self.context, self.id).frozen)

    def test_an_abandoned_window_is_closed(self) -> None:
        self.open()
        store.abandoned(self.context, self.id, self.entry)
        self.assertEqual([], self.left_open())

    def test_a_newer_window_is_not_abandoned(self) -> None:
        old, self.entry = self.entry, store.Entry(BACKUP, 'e' * 32, 7)
        self.open()
        store.abandoned(self.context, self.id, old)
        self.assertEqual([(self.id, self.entry)], self.left_open())

    def test_an_entry_lapses(self) -> None:
        self.assertFalse(self.entry.lapsed)
        self.assertTrue(store.Entry(BACKUP, 'f', time.time() - 1).lapsed)

    @ddt.data(
        claims.Claim(Level.CRASH, 'no agent'),
        claims.Claim(Level.FILESYSTEM, '', 'write_through+freeze',
                     {'ext4': 2, 'xfs': 1}, 812, 48))
    def test_a_verdict_reads_back(self, proof: claims.Claim) -> None:
        self.open()
        self.close(proof)
        self.assertEqual(proof, self.verdict())

    def test_a_verdict_may_be_that_it_is_exempt(self) -> None:
        self.close(None)
        self.assertEqual(store.EXEMPT, self.verdict())

    def test_a_verdict_is_of_its_own_backup_only(self) -> None:
        self.close(claims.Claim(Level.FILESYSTEM))
        self.assertIsNone(self.verdict('another'))

    def test_a_window_that_opens_forgets_the_last_verdict(self) -> None:
        self.close(claims.Claim(Level.FILESYSTEM))
        self.open()
        self.assertIsNone(self.verdict())

    def test_the_last_reason_does_not_stay(self) -> None:
        self.close(claims.Claim(Level.CRASH, 'no agent'))
        self.close(claims.Claim(Level.FILESYSTEM))
        self.assertEqual('', self.verdict().reason)

    def test_there_may_be_no_verdict(self) -> None:
        self.assertIsNone(self.verdict())

    @ddt.data('', 'hello', '[]', '7', '{"backup": 3}',
              '{"backup": "%s"}' % BACKUP,
              '{"backup": "%s", "proof": {}}' % BACKUP,
              '{"backup": "%s", "proof": {"level": "best"}}' % BACKUP)
    def test_what_is_not_ours_is_no_record(self, text: str) -> None:
        volume = objects.Volume.get_by_id(self.context, self.id)
        volume.admin_metadata_update(
            {store.VERDICT: text, store.WINDOW: text}, False)
        self.assertIsNone(self.verdict())
        self.assertIsNone(store.window_of(self.context, self.id))

    def test_values_fit_their_columns(self) -> None:
        # SQLite takes any length, MySQL 255 characters.
        self.open('h' * 255)
        self.close(LONG, keep=True)
        volume = objects.Volume.get_by_id(self.context, self.id)
        for key, value in volume.admin_metadata.items():
            self.assertLessEqual(len(value), 255, key)
        self.assertEqual(Level.WRITE_THROUGH, self.verdict().level)

    def test_other_admin_metadata_stays(self) -> None:
        volume = objects.Volume.get_by_id(self.context, self.id)
        volume.admin_metadata_update({'readonly': 'False'}, False)
        self.open()
        self.close(claims.Claim(Level.CRASH))
        volume.refresh()
        self.assertEqual('False', volume.admin_metadata['readonly'])

    def test_a_tenant_neither_sees_nor_writes_it(self) -> None:
        tenant = cinder_context.RequestContext(
            base.PROJECT, base.PROJECT, is_admin=False)
        store.opened(tenant, self.id, 'testhost', self.entry)
        volume = objects.Volume.get_by_id(tenant, self.id)
        self.assertEqual({}, volume.metadata)
        self.assertFalse(volume.obj_attr_is_set('admin_metadata'))
        self.assertEqual(1, len(self.left_open()))

    def test_what_a_tenant_writes_is_not_believed(self) -> None:
        forged = self.volume(metadata={
            store.OPEN: 'testhost',
            store.WINDOW: '{"backup": "x", "token": "y", "until": 1}'})
        self.assertEqual([], self.left_open())
        self.assertIsNone(store.window_of(self.context, forged.id))
