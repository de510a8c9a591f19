#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""The plugin without cinder-backup: its settings, and Cinder's locks."""

import atexit
import dataclasses
import shutil
import tempfile

from cinder import coordination
from oslo_config import cfg

from cinder_wt_backup import conf
from cinder_wt_backup.window import methods
from tests.support.cloud import layout


# An emulated guest is slow, and slower still beside another suite.
PATIENT: dict[str, object] = {'agent_timeout': 20}


def settings(lease: int = 0, **values: object) -> conf.Settings:
    """Return the settings of a section with some options set.

    A lease may be shorter than a service takes it: nobody waits for long.
    """
    config = cfg.ConfigOpts()
    config([], project='wt-functional', default_config_files=[])
    group = conf.register(config)
    config.set_override('libvirt_uri', 'qemu+tcp://{host}/system',
                        conf.GROUP)
    for name, value in (PATIENT | values).items():
        config.set_override(name, value, conf.GROUP)
    made = conf.read(group, methods.installed())
    return dataclasses.replace(made, lease=lease or made.lease)


def start_locks() -> None:
    """Have Cinder's locks in this process, unless it has them."""
    if not coordination.COORDINATOR.started:
        locks = tempfile.mkdtemp(prefix='locks-', dir=layout.CLOUD)
        atexit.register(shutil.rmtree, locks, ignore_errors=True)
        cfg.CONF.set_override('backend_url', f'file://{locks}',
                              'coordination')
        coordination.COORDINATOR.start()
