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

"""What most of these tests start from."""

from collections.abc import Callable
from typing import Any

from cinder import coordination
from cinder.tests.unit import test
import fixtures
from oslo_config import cfg
from oslotest import base

from cinder_wt_backup import agent
from cinder_wt_backup import conf
from cinder_wt_backup import evidence
from cinder_wt_backup import guest
from cinder_wt_backup import hypervisor
from cinder_wt_backup import window
from tests.unit.fixtures import libvirt

HOST = 'compute1'
VOLUME = 'ab94d455-bcb6-4716-8c6a-948fdff8fc76'
PROJECT = '5bccd4e708434dabbb47e2ec0fb8f246'
TOKEN = 'feedbeef'

# Short enough for tests, long enough for a busy machine.
SHORT = {'agent_timeout': 5, 'drain_timeout': 1, 'window_timeout': 5,
         'lock_timeout': 5, 'lease': 60, 'freeze_timeout': 30}


def options(**values: Any) -> Any:
    """Return a ``[write_through]`` section with these values set."""
    config = cfg.ConfigOpts()
    group = conf.register(config)
    config([], project='cinder', default_config_files=[],
           default_config_dirs=[])
    for name, value in {**SHORT, **values}.items():
        config.set_override(name, value, conf.GROUP)
    return group


class TestCase(base.BaseTestCase):
    """A test without Cinder's database."""


class GuestTestCase(TestCase):
    """A test with one guest that has one volume.

    :ivar libvirt: the compute hosts
    :ivar domain: the instance on ``compute1``
    """

    def setUp(self) -> None:
        super().setUp()
        # A fake answers at once.
        for name in ('agent.FIRST_POLL', 'window.POLL',
                     'guest_window.BUSY_POLL'):
            self.useFixture(fixtures.MonkeyPatch(
                f'cinder_wt_backup.{name}', 0.01))
        self.libvirt = self.useFixture(libvirt.Libvirt())
        self.domain = self.libvirt.add(HOST, libvirt.Domain(VOLUME, PROJECT))

    @property
    def guardian(self) -> Any:
        return self.domain.agent.guardian

    def target(self, **changes: Any) -> guest.Target:
        """Return the instance as attachments would."""
        return guest.Target(**{
            'volume': VOLUME, 'project': PROJECT,
            'instance': self.domain.instance, 'uris': (libvirt.URI % HOST,),
            'source': libvirt.RBD % VOLUME, **changes})

    def connect(self, timeout: int = 5) -> hypervisor.Domain:
        """Return the domain by a connection that lasts for the test."""
        host = hypervisor.Hypervisor(libvirt.URI % HOST, timeout)
        host.__enter__()
        self.addCleanup(host.__exit__, None, None, None)
        return host.domain(self.domain.instance)

    def agent(self) -> agent.Agent:
        return agent.Agent(self.connect(), 5)

    def reached(self) -> guest.Guest:
        """Return the guest by a connection that lasts for the test."""
        reaching = guest.reach(self.target(), 5)
        found = reaching.__enter__()
        self.addCleanup(reaching.__exit__, None, None, None)
        return found


class WindowTestCase(GuestTestCase):
    """A test with one guest and the locks of this host."""

    def setUp(self) -> None:
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        cfg.CONF.set_override('backend_url', f'file://{folder}',
                              'coordination')
        self.addCleanup(cfg.CONF.clear_override, 'backend_url',
                        'coordination')
        coordination.COORDINATOR.start()
        self.addCleanup(coordination.COORDINATOR.stop)
        self.log = self.useFixture(fixtures.FakeLogger())

    def window(self, *targets: guest.Target, **values: Any) -> window.Window:
        """Return a window on these targets, else on the one guest."""
        return window.Window(targets or (self.target(),), options(**values))

    def proof(self, meanwhile: Callable[[], Any] = lambda: None,
              **values: Any) -> evidence.Evidence:
        """Return what a window with a snapshot in it comes to.

        :param meanwhile: what happens while it is open
        """
        opened = self.window(**values)
        opened.open()
        meanwhile()
        opened.wait(lambda: True)
        return opened.close()


class CinderTestCase(test.TestCase):
    """A test with Cinder's database, locks and fake RPC."""

    # Real locks, in a folder of the test.
    MOCK_TOOZ = False
