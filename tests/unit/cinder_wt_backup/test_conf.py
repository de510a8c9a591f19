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
from oslo_config import cfg
from oslo_config import fixture as config_fixture

from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from tests.unit import base

METHODS = ['write_through', 'freeze']


class OptionsTest(base.TestCase):

    def test_defaults_can_work_together(self) -> None:
        config = cfg.ConfigOpts()
        config([], default_config_files=[], default_config_dirs=[])
        conf.read(conf.register(config), METHODS)

    def test_registering_twice_is_harmless(self) -> None:
        config = cfg.ConfigOpts()
        conf.register(config)
        conf.register(config)

    def test_the_sample_lists_every_option_with_its_help(self) -> None:
        (group, listed), = conf.list_opts()
        self.assertEqual('write_through', group)
        self.assertEqual(15, len(listed))
        for option in listed:
            self.assertGreater(len(option.help), 60, option.name)


@ddt.ddt
class RangeTest(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.config = self.useFixture(
            config_fixture.Config(cfg.ConfigOpts()))
        conf.register(self.config.conf)

    @ddt.data(
        ('agent_timeout', '0'), ('drain_timeout', '-1'),
        ('freeze_timeout', '0'), ('window_timeout', 'soon'),
        ('lock_timeout', '3601'), ('lease', '0'), ('max_windows', '0'),
        ('max_windows', '64'), ('barrier', 'thaw'),
        ('required_level', 'best'), ('freeze_without_lease', 'perhaps'))
    @ddt.unpack
    def test_a_value_out_of_range_is_refused(self, name: str,
                                             value: str) -> None:
        self.config.load_raw_values(group=conf.GROUP, **{name: value})
        error = self.assertRaises(
            cfg.ConfigFileValueError, getattr,
            self.config.conf[conf.GROUP], name)
        self.assertIn(name, str(error))


@ddt.ddt
class CheckTest(base.TestCase):

    def refused(self, **values: object) -> str:
        return str(self.assertRaises(
            exceptions.ConfigurationError, conf.read,
            base.section(**values), METHODS))

    def test_a_lease_must_outlast_drain_and_window(self) -> None:
        message = self.refused(lease=130, drain_timeout=30,
                               window_timeout=70, agent_timeout=10)
        self.assertIn('lease = 130 must exceed', message)
        self.assertIn('= 130', message)

    def test_a_lease_one_second_longer_is_accepted(self) -> None:
        base.settings(lease=131, drain_timeout=30, window_timeout=70,
                      agent_timeout=10)

    def test_an_unknown_method_is_refused(self) -> None:
        message = self.refused(methods=['write_through', 'pray'])
        self.assertIn("'pray' is not installed", message)
        self.assertIn('freeze, write_through', message)

    @ddt.data(({'required_level': 'filesystem'}, 'without barrier = freeze'),
              ({'barrier': 'freeze', 'methods': ['freeze']},
               'it has no effect'),
              ({'required_level': 'flushed', 'methods': []},
               'not looked at with empty methods'))
    @ddt.unpack
    def test_what_contradicts_is_said(self, values: dict[str, object],
                                      words: str) -> None:
        said, = conf.contradictions(base.settings(**values))
        self.assertIn(words, said)

    @ddt.data({}, {'required_level': 'filesystem', 'barrier': 'freeze'},
              {'required_level': 'filesystem', 'methods': ['freeze']},
              {'required_level': 'write-through'}, {'methods': []})
    def test_what_does_not_is_not(self, values: dict[str, object]) -> None:
        self.assertEqual([], conf.contradictions(base.settings(**values)))

    def test_no_method_is_the_emergency_switch(self) -> None:
        self.assertEqual((), base.settings(methods=[]).methods)

    @ddt.data('qemu+tls://{hots}/system', 'qemu+tls://{}/system',
              'qemu+tls://{host/system', 'qemu+tls://{host.name}/system')
    def test_a_template_that_cannot_be_filled_is_refused(self, uri: str
                                                         ) -> None:
        self.assertIn('only {host} can be replaced',
                      self.refused(libvirt_uri=uri))

    def test_a_template_without_a_host_is_accepted(self) -> None:
        settings = base.settings(libvirt_uri='qemu:///system')
        self.assertEqual('qemu:///system', settings.uri('compute1'))

    @ddt.data('', ':10.0.0.1', 'a b', 'compute1/system?x=', '-compute1',
              'compute1:10.0.0.1/system', 'compute1:root@10.0.0.1',
              'compute1:[::1]:16514')
    def test_what_is_no_host_name_is_refused(self, entry: str) -> None:
        self.assertIn('libvirt_hosts', self.refused(libvirt_hosts=[entry]))


class HostsTest(base.TestCase):

    def test_a_name_alone_is_its_own_address(self) -> None:
        self.assertEqual({'compute1': 'compute1'}, base.settings(
            libvirt_hosts=['compute1']).hosts)

    def test_a_name_may_have_an_address(self) -> None:
        self.assertEqual(
            {'c1': '10.0.0.1', 'c2': '[fd00::2]'}, base.settings(
                libvirt_hosts=['c1:10.0.0.1', 'c2:[fd00::2]']).hosts)

    def test_none_means_that_nova_is_asked(self) -> None:
        self.assertEqual({}, base.settings().hosts)
