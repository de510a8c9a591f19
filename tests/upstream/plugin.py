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

"""The plugin as the backup driver of Cinder's tests, and a witness of that.

Their configuration names Cinder's fake driver; here that is the wrapped one.
"""

import functools
from typing import Any

# First: it decides whether this process is eventlet's.
from cinder.tests import unit  # noqa: F401

from cinder.backup import manager
from cinder.tests.unit import conf_fixture
from oslo_config import cfg
from oslo_utils import importutils

from cinder_wt_backup import conf
from cinder_wt_backup.service import manager_hooks

NAME = 'cinder_wt_backup.driver.WriteThroughBackupDriver'
WRAPPED = 'cinder.tests.unit.backup.fake_service.FakeBackupService'
# Where our steps are in Cinder's manager.
STEPS = ('init_host', '_is_our_backup', '_start_backup', 'continue_backup',
         'run_periodic_tasks')


class Witness:
    """What saw Cinder's own ``_start_backup`` be called.

    :ivar through: calls that our steps made, with what its window is around
    :ivar beside: calls that somebody else made
    :ivar stored: calls of our driver's ``backup``
    """

    def __init__(self) -> None:
        self.through, self.beside, self.stored = 0, 0, 0

    def below_the_seam(self) -> None:
        """Watch from below: before our steps are put over it."""
        original = manager.BackupManager._start_backup

        @functools.wraps(original)      # which our steps check its parameters
        def _start_backup(caller: Any, context: Any, backup: Any,
                          volume: Any) -> Any:
            if not (isinstance(caller, manager_hooks._CastInWindow)
                    and backup.service == WRAPPED):
                self.beside += 1
                raise AssertionError('a backup was started beside our steps')
            self.through += 1
            return original(caller, context, backup, volume)
        manager.BackupManager._start_backup = _start_backup

    def in_the_driver(self, driver: Any) -> None:
        """Watch our driver's part."""
        original = driver.backup

        def backup(*args: Any, **kwargs: Any) -> Any:
            self.stored += 1
            return original(*args, **kwargs)
        driver.backup = backup


def install() -> Witness:
    """Name the plugin in the configuration of all of Cinder's tests.

    Then import it, as cinder-backup does when it starts.
    """
    conf.register(cfg.CONF)
    defaults = conf_fixture.set_defaults

    def set_defaults(config: cfg.ConfigOpts) -> None:
        # Each of their tests starts with this, and forgets it at its end.
        defaults(config)
        _name(config)
    conf_fixture.set_defaults = set_defaults
    _name(cfg.CONF)
    witness = Witness()
    witness.below_the_seam()
    witness.in_the_driver(importutils.import_class(NAME))
    return witness


def _name(config: cfg.ConfigOpts) -> None:
    config.set_default('wrapped_driver', WRAPPED, conf.GROUP)
    config.set_default('backup_driver', NAME)
