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

from types import SimpleNamespace
from typing import Any
import uuid

from cinder import objects
import ddt
import fixtures
from novaclient import exceptions as nova_exceptions

from cinder_wt_backup import exceptions
from cinder_wt_backup.service import attachments
from tests.unit import base
from tests.unit.fixtures import libvirt as hosts

INSTANCE = '8e034d89-8aa0-48ae-93c3-2e282163b102'
OTHER = '9f145e9a-9bb1-49bf-a4d4-3f393274c213'


def attachment(instance: str | None = INSTANCE, host: str = base.HOST,
               status: str = 'attached', **values: Any) -> Any:
    """Return an attachment as Nova makes it, or with these ``values``."""
    return objects.VolumeAttachment(**{
        'id': str(uuid.uuid4()), 'volume_id': base.VOLUME,
        'instance_uuid': instance, 'attach_status': status,
        'attached_host': None, 'connector': {'host': host},
        'connection_info': {'driver_volume_type': 'rbd',
                            'name': hosts.RBD % base.VOLUME}, **values})


def volume(*attached: Any, metadata: dict[str, str] | None = None) -> Any:
    """Return a volume with these attachments."""
    return objects.Volume(
        id=base.VOLUME, project_id=base.PROJECT,
        metadata=metadata or {},
        volume_attachment=objects.VolumeAttachmentList(
            objects=list(attached)))


@ddt.ddt
class KnownHostsTest(base.TestCase):

    def locate(self, *attached: Any, **options: Any) -> list[Any]:
        return attachments.locate(None, volume(*attached), base.settings(
            **{'libvirt_hosts': ['compute1', 'compute2:10.0.0.2'],
               **options}))

    def test_the_instance_is_on_its_connectors_host(self) -> None:
        target, = self.locate(attachment())
        self.assertEqual(INSTANCE, target.instance)
        self.assertEqual(base.PROJECT, target.project)
        self.assertEqual((hosts.URI % 'compute1',), target.uris)

    def test_or_on_the_host_it_was_attached_on(self) -> None:
        target, = self.locate(attachment(connector=None,
                                         attached_host='compute1'))
        self.assertEqual((hosts.URI % 'compute1',), target.uris)

    def test_the_operators_address_is_used(self) -> None:
        target, = self.locate(attachment(host='compute2'))
        self.assertEqual(('qemu+tls://10.0.0.2/system',), target.uris)

    @ddt.data('evil', 'compute1/system?socket=/x', '{host}', 'user@compute1',
              'compute1:16509', '', 'Compute1')
    def test_a_host_that_is_not_known_gets_into_no_uri(self, host: str
                                                       ) -> None:
        target, = self.locate(attachment(host=host))
        self.assertEqual((), target.uris)

    @ddt.data(['compute1'], {'compute1': 1}, 7)
    def test_a_host_that_is_no_text_is_not_known(self, host: Any) -> None:
        target, = self.locate(attachment(connector={'host': host}))
        self.assertEqual((), target.uris)

    def test_what_cinder_gave_out_is_what_the_disk_must_be(self) -> None:
        target, = self.locate(attachment())
        self.assertEqual(hosts.RBD % base.VOLUME, target.source)

    def test_a_source_is_only_known_of_rbd(self) -> None:
        target, = self.locate(attachment(
            connection_info={'driver_volume_type': 'iscsi', 'name': 'x'}))
        self.assertIsNone(target.source)

    @ddt.data(({}, False), ({'wt:policy': 'no-exec'}, True),
              ({'wt:policy': 'require=flushed, no-exec'}, True),
              ({'wt:policy': 'require=flushed'}, False))
    @ddt.unpack
    def test_what_its_owner_permits_holds_in_every_instance(
            self, metadata: dict[str, str], no_exec: bool) -> None:
        found = attachments.locate(None, volume(
            attachment(), attachment(OTHER), metadata=metadata),
            base.settings(libvirt_hosts=['compute1']))
        self.assertEqual([no_exec] * 2, [each.no_exec for each in found])

    def test_every_instance_counts(self) -> None:
        found = self.locate(attachment(), attachment(OTHER, 'compute2'))
        self.assertEqual([INSTANCE, OTHER], [t.instance for t in found])

    def test_a_live_migration_is_one_instance_on_two_hosts(self) -> None:
        target, = self.locate(attachment(), attachment(host='compute2'))
        self.assertEqual(2, len(target.uris))

    def test_a_reserved_attachment_does_not_count(self) -> None:
        found = self.locate(attachment(),
                            attachment(OTHER, status='reserved'))
        self.assertEqual([INSTANCE], [target.instance for target in found])

    @ddt.data([], [{'instance': None}], [{}, {'instance': None}],
              [{'status': 'attaching'}])
    def test_what_is_attached_to_no_instance_is_refused(
            self, rows: list[dict[str, Any]]) -> None:
        self.assertRaises(exceptions.Unreachable, self.locate,
                          *(attachment(**row) for row in rows))


class NovaTest(base.CinderTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.server: Any = SimpleNamespace(
            **{attachments.HOST_ATTRIBUTE: 'compute7'})
        self.asked: list[dict[str, Any]] = []
        self.useFixture(fixtures.MonkeyPatch(
            'cinder.compute.nova.novaclient', self.client))
        self.log = self.useFixture(fixtures.FakeLogger())

    def client(self, context: Any, **how: Any) -> Any:
        self.asked.append(how)
        return SimpleNamespace(servers=SimpleNamespace(get=self.get))

    def get(self, instance: str) -> Any:
        if isinstance(self.server, Exception):
            raise self.server
        return self.server

    def uris(self) -> tuple[str, ...]:
        return attachments.locate(None, volume(attachment(host='evil')),
                                  base.settings(agent_timeout=3))[0].uris

    def test_nova_says_where_it_is_and_not_the_attachment(self) -> None:
        self.assertEqual((hosts.URI % 'compute7',), self.uris())

    def test_nova_is_asked_with_the_services_rights_and_a_limit(self) -> None:
        self.uris()
        self.assertEqual([{'privileged_user': True, 'timeout': 3}],
                         self.asked)

    def test_an_error_of_novas_is_a_warning_with_a_remedy(self) -> None:
        self.server = nova_exceptions.Forbidden(403)
        self.assertEqual((), self.uris())
        self.assertIn('Check the [nova] section', self.log.output)

    def test_without_the_rights_nova_does_not_say(self) -> None:
        self.server = SimpleNamespace()
        self.assertEqual((), self.uris())

    def test_what_is_no_host_name_gets_into_no_uri(self) -> None:
        self.server = SimpleNamespace(
            **{attachments.HOST_ATTRIBUTE: 'compute7/system?socket=/x'})
        self.assertEqual((), self.uris())


class DriverTypeTest(base.TestCase):

    def test_it_is_what_cinder_recorded(self) -> None:
        self.assertEqual('rbd', attachments.driver_type(
            volume(attachment(), attachment(OTHER))))

    def test_one_that_is_only_reserved_says_nothing(self) -> None:
        self.assertEqual('rbd', attachments.driver_type(volume(
            attachment(), attachment(connection_info=None))))

    def test_it_is_unknown_when_they_differ(self) -> None:
        self.assertIsNone(attachments.driver_type(volume(
            attachment(), attachment(
                connection_info={'driver_volume_type': 'nfs'}))))

    def test_it_is_unknown_without_an_attachment(self) -> None:
        self.assertIsNone(attachments.driver_type(volume()))


class MigratedTest(base.CinderTestCase):

    def test_the_host_of_today_is_told(self) -> None:
        volume = self.attached()
        target, = attachments.locate(self.context, volume, base.settings(
            libvirt_hosts=['compute1', 'compute2']))
        moved = volume.volume_attachment[0]
        moved.connector = {'host': 'compute2'}
        moved.save()
        self.assertEqual((hosts.URI % 'compute1',), target.uris)
        self.assertEqual((hosts.URI % 'compute2',), target.elsewhere())
