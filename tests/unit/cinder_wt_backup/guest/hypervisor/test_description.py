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

import ddt

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.hypervisor import description
from tests.unit import base
from tests.unit.fixtures import libvirt as hosts

BOMB = ('<!DOCTYPE domain [<!ENTITY a "aaaaaaaaaa">'
        '<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><domain>&b;</domain>')


@ddt.ddt
class ReadTest(base.TestCase):

    @ddt.data((BOMB, 'a document type is declared'),
              ('<!DOCTYPE domain><domain/>', 'a document type is declared'),
              ('<domain>' + ' ' * (2 << 20) + '</domain>', 'characters'),
              ('<domain>', 'no element found'), ('', 'no element found'))
    @ddt.unpack
    def test_what_libvirt_does_not_write_is_refused(self, xml: str,
                                                    words: str) -> None:
        error = self.assertRaises(exceptions.DomainNotFound,
                                  description.read, xml, 'its-instance')
        self.assertIn(words, str(error))
        self.assertIn('its-instance', str(error))

    def test_what_is_needed_is_kept(self) -> None:
        domain = hosts.Domain(base.VOLUME, base.PROJECT)
        found = description.read(domain.XMLDesc(), domain.instance)
        self.assertEqual({base.PROJECT}, found.projects)
        self.assertEqual('connected', found.agent_channel)
        self.assertEqual([frozenset(), frozenset({base.VOLUME})],
                         [disk.names for disk in found.disks])

    def test_of_a_domain_with_nothing_nothing_is(self) -> None:
        self.assertEqual(description.Description(frozenset(), (), None),
                         description.read('<domain/>', 'its-instance'))
