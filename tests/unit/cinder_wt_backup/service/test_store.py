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

from __future__ import annotations

import dataclasses
import time
from typing import Any

from cinder import context as cinder_context
from cinder import objects
import ddt
import fixtures
from oslo_serialization import jsonutils

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions
from cinder_wt_backup.service import record
from cinder_wt_backup.service import store
from tests.unit import base

Level = claims.Level
BACKUP = '18d13274-c707-4208-8b89-b1bf606cb2c9'
LONG = claims.Claim(
    Level.WRITE_THROUGH, 'r' * 3000, 'write_through+freeze',
    {f'{number:032}': 4096 for number in range(20)}, Level.WRITE_THROUGH,
    3600000, 3600000)


@ddt.ddt
class RecordTest(base.CinderTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.id = self.volume().id
        self.window = record.OpenWindow(
            'testhost', BACKUP, 'f' * 32, time.time() + 9,
            '4194304/18446744073709551615')

    def open(self) -> None:
        store.open_window(self.context, self.id, self.window)

    def close(self, claim: claims.Claim | None,
              left_changed: bool = False, token: str = 'f' * 32) -> None:
        store.close_window(self.context, self.id, token,
                           record.StoredClaim(BACKUP, claim), left_changed)

    def stored(self, backup: str = BACKUP) -> record.StoredClaim | None:
        return store.claim_of(self.context, self.id, backup)

    def claim(self) -> claims.Claim:
        found = self.stored()
        assert found and found.claim
        return found.claim

    def found(self) -> record.OpenWindow:
        found = store.window_of(self.context, self.id)
        assert found
        return found

    def put(self, **values: str) -> None:
        """Write columns as they are."""
        objects.Volume.get_by_id(self.context, self.id).admin_metadata_update(
            {f'wt:{key}': text for key, text in values.items()}, False)

    def left_open(self) -> list[Any]:
        return [(volume.id, entry) for volume, entry
                in store.left_open(self.context)]

    def test_an_open_window_is_found(self) -> None:
        self.open()
        self.assertEqual(self.window,
                         store.window_of(self.context, self.id))
        self.assertEqual([(self.id, self.window)], self.left_open())

    def test_a_closed_window_is_not(self) -> None:
        self.open()
        self.close(claims.Claim(Level.CRASH))
        self.assertIsNone(store.window_of(self.context, self.id))
        self.assertEqual([], self.left_open())

    def test_a_window_whose_guest_was_not_put_back_is(self) -> None:
        self.open()
        self.close(claims.Claim(Level.CRASH), left_changed=True)
        nobodys = dataclasses.replace(self.window, owner='')
        self.assertEqual([(self.id, nobodys)], self.left_open())
        self.assertEqual(Level.CRASH, self.claim().level)

    def test_a_freeze_is_of_its_window_only(self) -> None:
        self.open()
        self.assertRaises(exceptions.RecordUnreadable, store.note_freeze,
                          self.context, self.id, 'another')
        self.assertFalse(self.found().may_be_frozen)
        store.note_freeze(self.context, self.id, self.window.token)
        self.assertTrue(self.found().may_be_frozen)
        self.open()
        self.assertFalse(self.found().may_be_frozen)

    def test_a_window_that_is_forgotten_is_closed(self) -> None:
        self.open()
        store.forget_window(self.context, self.id, self.window.token)
        self.assertEqual([], self.left_open())

    def test_a_newer_window_stays_on_record(self) -> None:
        self.window = record.OpenWindow('testhost', 'newer', 'e' * 32, 7)
        self.open()
        store.forget_window(self.context, self.id, 'f' * 32)
        self.assertEqual([(self.id, self.window)], self.left_open())
        # Its own claim is still to come.
        self.close(claims.Claim(Level.FLUSHED))
        self.assertEqual([(self.id, self.window)], self.left_open())
        self.assertIsNone(self.stored())

    def test_a_later_backups_claim_stays_when_a_window_closes(self) -> None:
        self.open()
        store.note_claim(self.context, self.id, record.StoredClaim(
            'later', claims.Claim(Level.CRASH, 'in the way')))
        self.close(claims.Claim(Level.FLUSHED))
        self.assertEqual([], self.left_open())
        self.assertEqual('in the way', self.stored('later').claim.reason)

    def test_a_window_that_was_not_recorded_has_a_claim_all_the_same(
            self) -> None:
        self.close(claims.Claim(Level.CRASH))
        self.assertEqual(Level.CRASH, self.claim().level)

    def test_an_entry_lapses(self) -> None:
        self.assertFalse(self.window.lapsed)
        self.assertTrue(record.OpenWindow(
            'testhost', BACKUP, 'f', time.time() - 1).lapsed)

    @ddt.data(
        claims.Claim(Level.CRASH, 'no agent'),
        claims.Claim(Level.FILESYSTEM, '', 'write_through+freeze',
                     {'ext4': 2, 'xfs': 1}, Level.FLUSHED, 812, 48, 'clean'),
        # Several columns, of signs that JSON makes longer.
        claims.Claim(Level.CRASH, '"\\' * 2000,
                     filesystems={'x' * 32: 1}))
    def test_a_claim_reads_back(self, proof: claims.Claim) -> None:
        self.open()
        self.close(proof)
        self.assertEqual(proof, self.claim())

    def test_a_claim_may_be_that_it_is_exempt(self) -> None:
        self.close(None)
        self.assertEqual(record.StoredClaim(BACKUP, None), self.stored())

    def test_a_claim_is_of_its_own_backup_only(self) -> None:
        self.close(claims.Claim(Level.FILESYSTEM))
        self.assertIsNone(self.stored('another'))

    def test_a_window_that_opens_forgets_the_last_claim(self) -> None:
        self.close(claims.Claim(Level.FILESYSTEM))
        self.open()
        self.assertIsNone(self.stored())

    def test_the_last_reason_does_not_stay(self) -> None:
        self.close(claims.Claim(Level.CRASH, 'no agent'))
        self.close(claims.Claim(Level.FILESYSTEM))
        self.assertEqual('', self.claim().reason)

    def test_there_may_be_no_claim(self) -> None:
        self.assertIsNone(self.stored())

    @ddt.data('hello', '[]', '7', '{}', '{"backup": "%s"}' % BACKUP,
              '{"backup": "%s", "claim": {}}' % BACKUP,
              '{"backup": "%s", "claim": "{}"}' % BACKUP,
              '{"backup": "%s", "claim": "{\\"level\\": 7}"}' % BACKUP)
    def test_what_is_none_of_ours_is_no_claim(self, text: str) -> None:
        self.put(claim=text)
        self.assertIsNone(self.stored())

    @ddt.data('hello', '[]', '7', '{}', '{"backup": "%s"}' % BACKUP,
              '{"version": 9, "window": {"token": "f"}}',
              *('{"host": "h", "backup": "b", "token": "t", "ends": 1, %s}'
                % wrong for wrong in (
                    '"ends": "later"', '"ends": NaN', '"owner": null',
                    '"owner": 5', '"version": Infinity', '"token": []',
                    '"may_be_frozen": "no"')), '[' * 100000)
    def test_what_cannot_be_read_is_neither_dropped_nor_mistaken(
            self, text: str) -> None:
        log = self.useFixture(fixtures.FakeLogger())
        self.put(open='testhost', window=text[:255])
        self.assertEqual([], self.left_open())
        self.assertIn(f'Volume {self.id}: the record of a window', log.output)
        self.assertRaises(exceptions.RecordUnreadable, store.window_of,
                          self.context, self.id)
        store.forget_window(self.context, self.id, self.window.token)
        self.close(claims.Claim(Level.CRASH))
        found = objects.Volume.get_by_id(self.context, self.id).admin_metadata
        self.assertEqual(('testhost', text[:255]),
                         (found['wt:open'], found['wt:window']))

    def test_what_a_later_version_adds_is_kept(self) -> None:
        text = jsonutils.dumps({
            **jsonutils.loads(self.window.to_json()), 'version': 2,
            'share': {'of': 'a project'}})
        self.put(open='testhost', window=text)
        store.note_freeze(self.context, self.id, self.window.token)
        self.close(claims.Claim(Level.CRASH), left_changed=True)
        found = self.found()
        self.assertEqual((2, {'share': {'of': 'a project'}}, True, ''), (
            found.version, found.others, found.may_be_frozen, found.owner))
        self.assertIn('"share"', found.to_json())

    def test_a_claim_of_a_later_version_reads(self) -> None:
        claim = jsonutils.loads(claims.Claim(Level.FLUSHED).to_json())
        self.put(claim=jsonutils.dumps({
            'version': 2, 'backup': BACKUP, 'more': 1,
            'claim': jsonutils.dumps({**claim, 'proof': 'a signature'})}))
        self.assertEqual(Level.FLUSHED, self.claim().level)

    def test_values_fit_their_columns(self) -> None:
        # SQLite takes any length, MySQL 255 characters.
        self.window = dataclasses.replace(self.window, host='h' * 255)
        self.open()
        self.close(LONG, left_changed=True)
        volume = objects.Volume.get_by_id(self.context, self.id)
        for key, value in volume.admin_metadata.items():
            self.assertLessEqual(len(value), 255, key)
        self.assertEqual(Level.WRITE_THROUGH, self.claim().level)

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
        store.open_window(tenant, self.id, self.window)
        volume = objects.Volume.get_by_id(tenant, self.id)
        self.assertEqual({}, volume.metadata)
        self.assertFalse(volume.obj_attr_is_set('admin_metadata'))
        self.assertEqual(1, len(self.left_open()))

    def test_what_a_tenant_writes_is_not_believed(self) -> None:
        forged = self.volume(metadata={
            store.HOST: 'testhost',
            store.WINDOW: self.window.to_json()})
        self.assertEqual([], self.left_open())
        self.assertIsNone(store.window_of(self.context, forged.id))
