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

"""The backup driver that cinder.conf names.

Importing this module in cinder-backup, which Cinder does when it is the
``backup_driver``, puts our steps around BackupManager's as well: see
:mod:`cinder_wt_backup.service.manager_hooks`.
"""

from typing import Any

from cinder.backup import driver
from cinder import objects
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import importutils

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.service import backup_windows
from cinder_wt_backup.service import ceph_hooks
from cinder_wt_backup.service import manager_hooks
from cinder_wt_backup.service import process
from cinder_wt_backup.window import methods

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
NAME = 'cinder_wt_backup.driver.WriteThroughBackupDriver'


class WriteThroughBackupDriver:
    """The wrapped driver, whose backups carry evidence.

    Everything but ``backup`` is the wrapped driver's own, whatever Cinder
    asks for: methods, ``support_force_delete`` and other attributes.

    :ivar wrapped_class: the stock driver's class
    :ivar backups: the backups of this process
    """

    wrapped_class: type
    backups: backup_windows.Backups

    def __init__(self, context: Any, *args: Any, **kwargs: Any) -> None:
        self._context = context
        self._wrapped = self.wrapped_class(context, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def backup(self, backup: Any, volume_file: Any,
               *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Store the data and return the evidence with the driver's updates.

        As updates it is saved last, by BackupManager._finish_backup: written
        any earlier, the in-flight Backup objects would erase it.

        :raises PolicyError: the backup did not reach what is required;
            Cinder fails it and cleans up
        """
        self._drop_forged(backup)
        volume = objects.Volume.get_by_id(self._context, backup.volume_id)
        in_driver = self.backups.happens_in_driver(backup.service, volume)
        if not in_driver:
            proof = self.backups.proof(self._context, backup, volume_file)
        updates = dict(self._wrapped.backup(
            backup, volume_file, *args, **kwargs) or {})
        if in_driver:
            proof = self._wrapped.wt_proof or self.backups.proof(
                self._context, backup)
        if proof:
            updates['metadata'] = {
                **claims.without(backup.metadata),
                **claims.without(updates.get('metadata')),
                **proof.as_metadata()}
        return updates

    @staticmethod
    def _drop_forged(backup: Any) -> None:
        """Drop the evidence that came in with the request."""
        kept = claims.without(backup.metadata)
        if kept != (backup.metadata or {}):
            LOG.warning('Backup %(backup)s was requested with properties '
                        '%(prefix)s*, which only the service may set: they '
                        'are dropped.', {'backup': backup.id,
                                         'prefix': claims.PREFIX})
            backup.metadata = kept
            backup.save()


driver.BackupDriver.register(WriteThroughBackupDriver)


def _install() -> None:
    """Take our place in cinder-backup, or refuse to start.

    :raises ConfigurationError: the options or this Cinder do not permit it
    """
    settings = conf.read(conf.register(CONF), methods.installed())
    wrapped = manager_hooks.wrapped_path(settings.wrapped_driver, NAME)
    process.adapt()
    backups = backup_windows.Backups(settings)
    wrapped_class = _import(wrapped)
    is_ceph = backup_windows.CEPH in wrapped
    manager_hooks.check_assumptions(wrapped_class, is_ceph)
    if is_ceph:
        wrapped_class = ceph_hooks.with_window(wrapped_class, backups)
    WriteThroughBackupDriver.wrapped_class = wrapped_class
    WriteThroughBackupDriver.backups = backups
    manager_hooks.install(NAME, wrapped, backups)


def _import(path: str) -> type:
    try:
        found = importutils.import_class(path)
    except (ImportError, ValueError) as error:
        raise exceptions.ConfigurationError(
            f'[{conf.GROUP}] wrapped_driver = {path} cannot be imported: '
            f'{error}') from error
    if not isinstance(found, type):
        raise exceptions.ConfigurationError(
            f'[{conf.GROUP}] wrapped_driver = {path} is no class')
    return found


if manager_hooks.is_configured(CONF, NAME):
    _install()
