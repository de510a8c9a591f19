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
from collections.abc import Sequence
from typing import Any
import uuid

from cinder.backup import manager as backup_manager
from cinder import context
from cinder import coordination
from cinder import objects
from cinder.tests.unit import test
from cinder.tests.unit import utils
import fixtures
import hypothesis
from oslo_config import cfg

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup.guest import agent
from cinder_wt_backup.guest.hypervisor import domain as domains
from cinder_wt_backup.guest.hypervisor import host as compute_host
from cinder_wt_backup.guest import reach
from cinder_wt_backup.service import process
from cinder_wt_backup.window import methods
from cinder_wt_backup.window import volume as windows
from tests.support import bounded
from tests.unit.fixtures import cinder
from tests.unit.fixtures import libvirt

# A busy machine takes its time for an example; no file of examples is kept.
hypothesis.settings.register_profile('here', deadline=None, database=None)
hypothesis.settings.load_profile('here')

HOST = 'compute1'
VOLUME = 'ab94d455-bcb6-4716-8c6a-948fdff8fc76'
PROJECT = '5bccd4e708434dabbb47e2ec0fb8f246'
TOKEN = 'feedbeef'

# Short enough for tests, long enough for a busy machine.
SHORT = {'agent_timeout': 5, 'drain_timeout': 1, 'window_timeout': 5,
         'lock_timeout': 5, 'lease': 90, 'freeze_timeout': 30}


def section(**values: Any) -> cfg.ConfigOpts.GroupAttr:
    """Return a ``[write_through]`` section with these values set."""
    config = cfg.ConfigOpts()
    group = conf.register(config)
    config([], project='cinder', default_config_files=[],
           default_config_dirs=[])
    for name, value in {**SHORT, **values}.items():
        config.set_override(name, value, conf.GROUP)
    return group


def settings(**values: Any) -> conf.Settings:
    """Return the settings of a section with these values set."""
    return conf.read(section(**values), methods.installed())


class NoCalls(fixtures.Fixture):
    """No call hangs: what one test lets hang is nothing to another."""

    def _setUp(self) -> None:
        self.useFixture(fixtures.MonkeyPatch(
            'cinder_wt_backup.guest.blocking._calls', set()))


class TestCase(bounded.TestCase):
    """A test without Cinder's database."""

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(NoCalls())


class GuestTestCase(TestCase):
    """A test with one guest that has one volume.

    :ivar libvirt: the compute hosts
    :ivar domain: the instance on ``compute1``
    """

    def setUp(self) -> None:
        super().setUp()
        # A fake answers at once.
        for name in ('guest.agent.FIRST_POLL', 'window.volume.POLL',
                     'window.guest.BUSY_POLL', 'window.guest.RELEASE_POLL'):
            self.useFixture(fixtures.MonkeyPatch(
                f'cinder_wt_backup.{name}', 0.01))
        self.libvirt = self.useFixture(libvirt.Libvirt())
        self.domain = self.libvirt.add(HOST, libvirt.Domain(VOLUME, PROJECT))

    @property
    def guardian(self) -> Any:
        return self.domain.agent.guardian

    def target(self, **changes: Any) -> reach.Target:
        """Return the instance as attachments would."""
        return reach.Target(**{
            'volume': VOLUME, 'project': PROJECT,
            'instance': self.domain.instance, 'uris': (libvirt.URI % HOST,),
            'source': libvirt.RBD % VOLUME, **changes})

    def connect(self, timeout: int = 5) -> domains.Domain:
        """Return the domain by a connection that lasts for the test."""
        host = compute_host.Hypervisor(libvirt.URI % HOST, timeout)
        host.__enter__()
        self.addCleanup(host.__exit__, None, None, None)
        return host.domain(self.domain.instance)

    def agent(self) -> agent.Agent:
        return agent.Agent(self.connect(), 5)

    def reached(self) -> reach.Guest:
        """Return the guest by a connection that lasts for the test."""
        reaching = reach.connect(self.target(), 5)
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

    def window(self, *targets: reach.Target, **values: Any) -> windows.Window:
        """Return a window on these targets, else on the one guest."""
        return windows.Window(targets or (self.target(),), settings(**values),
                              process.lock)

    def proof(self, meanwhile: Callable[[], Any] = lambda: None,
              **values: Any) -> claims.Claim:
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

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(bounded.Limit())
        self.useFixture(NoCalls())
        self.useFixture(cinder.Transactions())
        for name in ('guest.agent.FIRST_POLL', 'window.volume.POLL',
                     'service.backup_windows.POLL',
                     'service.preparation.POLL',
                     'window.guest.BUSY_POLL', 'window.guest.RELEASE_POLL'):
            self.useFixture(fixtures.MonkeyPatch(
                f'cinder_wt_backup.{name}', 0.01))
        self.context = context.get_admin_context()
        self.libvirt = self.useFixture(libvirt.Libvirt())

    def volume(self, instances: Sequence[libvirt.Domain] = (),
               driver: str = 'rbd', **values: Any) -> objects.Volume:
        """Return a volume whose backup was just requested."""
        made = utils.create_volume(self.context, **{
            'status': 'backing-up', 'project_id': PROJECT, 'user_id': PROJECT,
            'previous_status': 'in-use' if instances else 'available',
            **values})
        for domain in instances:
            attachment = objects.VolumeAttachment(
                self.context, volume_id=made.id, attach_status='attached',
                instance_uuid=domain.instance)
            attachment.create()
            attachment.connector = {'host': HOST}
            attachment.connection_info = {
                'driver_volume_type': driver,
                'name': libvirt.RBD % made.id}
            attachment.save()
        return objects.Volume.get_by_id(self.context, made.id)

    def attached(self, **values: Any) -> objects.Volume:
        """Return a volume that an instance on ``compute1`` has."""
        identity = str(uuid.uuid4())
        self.domain = self.libvirt.add(HOST, libvirt.Domain(
            identity, PROJECT))
        return self.volume([self.domain], id=identity, **values)

    def backup(self, volume: objects.Volume, **values: Any) -> objects.Backup:
        """Return a backup of it as the API leaves it."""
        return utils.create_backup(self.context, volume.id, **{
            'host': 'testhost', 'project_id': PROJECT, 'service': None,
            'status': 'creating', 'size': 1, **values})

    @property
    def guardian(self) -> Any:
        return self.domain.agent.guardian


class BackupTestCase(CinderTestCase):
    """A test of cinder-backup with the plugin as its driver.

    :cvar options: of ``[write_through]``
    :ivar manager: Cinder's BackupManager, started
    :ivar cinder_volume: what answers its casts
    """

    options: dict[str, Any] = {}

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(cinder.Plugin(**{
            **SHORT, 'libvirt_hosts': [HOST], **self.options}))
        self.cinder_volume = self.useFixture(cinder.CinderVolume())
        self.manager = self.cinder_volume.manager = self.started()

    def started(self, **how: Any) -> backup_manager.BackupManager:
        """Return a worker of cinder-backup that serves."""
        made = backup_manager.BackupManager(host='testhost', **how)
        made.init_host()
        self.addCleanup(cinder.process().recovery.join)
        cinder.process().recovery.join()
        made.is_initialized = True
        return made

    def create(self, backup: objects.Backup) -> objects.Backup:
        """Have the backup made, through the manager's RPC methods."""
        self.manager.create_backup(
            self.context, cinder.through_rpc(self.context, backup))
        cinder.process().queue.join()
        self.cinder_volume.join()
        return objects.Backup.get_by_id(self.context, backup.id)
