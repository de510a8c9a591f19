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

"""Cinder's own backup tests, found in the Cinder that is installed."""

from collections.abc import Iterator
import inspect
import pkgutil
from typing import Any
import unittest

from tests.upstream import plugin

from cinder.backup import manager
from cinder.tests.unit import backup as unit
from cinder.tests.unit import test
from oslo_config import cfg

from cinder_wt_backup.service import manager_hooks

WITNESS = plugin.install()
COMPLIANCE = 'cinder.tests.compliance.test_backup_drivers'


def load_tests(loader: unittest.TestLoader, own: unittest.TestSuite,
               _pattern: Any) -> unittest.TestSuite:
    """Return ours and Cinder's: the unittest protocol."""
    # Drivers are on its list once they were imported: the last one.
    return unittest.TestSuite(
        [own, *map(loader.loadTestsFromName, [*_modules(), COMPLIANCE])])


def _modules() -> list[str]:
    found = pkgutil.walk_packages(unit.__path__, f'{unit.__name__}.')
    return [module.name for module in found
            if module.name.rpartition('.')[2].startswith('test_')]


class ConfigurationTest(test.TestCase):
    """What each of Cinder's tests begins with."""

    def test_the_plugin_is_the_backup_driver(self) -> None:
        self.assertEqual(plugin.NAME, cfg.CONF.backup_driver)
        self.assertEqual(plugin.WRAPPED,
                         cfg.CONF.write_through.wrapped_driver)

    def test_the_seam_is_in_cinders_manager(self) -> None:
        for name in plugin.STEPS:
            step = getattr(manager.BackupManager, name)
            self.assertIsNot(inspect.unwrap(step), step, name)
            self.assertEqual(manager_hooks.__file__,
                             step.__code__.co_filename, name)

    def test_the_plugin_is_the_managers_service(self) -> None:
        self.assertEqual('WriteThroughBackupDriver',
                         manager.BackupManager().service.__name__)


class WitnessTest(unittest.TestCase):
    """That Cinder's tests of ``create_backup`` say something about us."""

    def test_backups_are_made_through_the_seam(self) -> None:
        through, stored = WITNESS.through, WITNESS.stored
        unittest.TestSuite(_creating()).run(unittest.TestResult())
        self.assertEqual(0, WITNESS.beside)
        self.assertGreater(WITNESS.through - through, 3)
        self.assertGreater(WITNESS.stored - stored, 1)


def _creating() -> Iterator[unittest.TestCase]:
    """Yield Cinder's tests of the manager's ``create_backup``."""
    found = unittest.defaultTestLoader.loadTestsFromName(
        'cinder.tests.unit.backup.test_backup')
    for suite in found:
        yield from (case for case in suite if 'create_backup' in case.id())
