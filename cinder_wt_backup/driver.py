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

from __future__ import annotations

from typing import Any

from cinder import objects
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import importutils

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.claims import metadata
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.ondisk import reader
from cinder_wt_backup import plain
from cinder_wt_backup.service import assumptions
from cinder_wt_backup.service import backup_windows
from cinder_wt_backup.service import ceph_hooks
from cinder_wt_backup.service import manager_hooks
from cinder_wt_backup.service import plan as plans
from cinder_wt_backup import steps
from cinder_wt_backup.window import methods

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
NAME = conf.DRIVER
# Any: what stands after ours among a driver's classes carries no types.
_Driver: Any = object


class Claiming(_Driver):  # type: ignore[misc]
    """Before the wrapped driver's class: its backups carry claims.

    Everything but ``backup`` is the wrapped driver's own.

    :cvar backups: the backups of this process
    :ivar wt_plan: what is to be done for the backup, for ceph_hooks
    :ivar wt_claim: what that has claimed of its own snapshot
    """

    backups: backup_windows.Backups
    wt_plan: plans.BackupPlan
    wt_claim: claims.Claim | None = None

    def backup(self, backup: objects.Backup, volume_file: reader.File,
               *args: object, **kwargs: object) -> dict[str, object]:
        """Store the data and return the claim with the driver's updates.

        As updates it is saved last, by BackupManager.continue_backup's
        _finish_backup.

        :raises PolicyError: the backup did not reach what is required;
            Cinder fails it and cleans up
        """
        self._drop_forged(backup)
        plan = self.wt_plan = self.backups.plan(
            backup, objects.Volume.get_by_id(self.context, backup.volume_id))
        claim = (None if plan.in_driver
                 else self.backups.claim(self.context, plan, volume_file))
        steps.reached(steps.Step.STORING, backup.id)
        updates = dict(super().backup(
            backup, volume_file, *args, **kwargs) or {})
        if plan.in_driver:
            claim = self.wt_claim or self.backups.claim(self.context, plan)
        if claim:
            updates['metadata'] = {
                **self._users_properties(backup),
                **metadata.without_claim(updates.get('metadata')),
                **metadata.of_claim(claim)}
        return updates

    @staticmethod
    def _drop_forged(backup: objects.Backup) -> None:
        """Drop the claim that came in with the request.

        What came with it counts as saved: else every save of the object, as
        the wrapped driver makes them, would write the properties back as they
        were then (Backup.obj_what_changed of an object from RPC).
        """
        kept = metadata.without_claim(backup.metadata)
        if kept != (backup.metadata or {}):
            LOG.warning('Backup %(backup)s was requested with properties '
                        '%(prefix)s*, which only the service may set: they '
                        'are dropped.', {'backup': backup.id,
                                         'prefix': metadata.PREFIX})
            backup.metadata = kept
            backup.save()
        backup.obj_reset_changes(['metadata'])

    def _users_properties(self, backup: objects.Backup) -> dict[str, str]:
        """Return the properties that users have given it by now.

        Its data are stored: nothing may fail it any more. It may have been
        deleted meanwhile, which the wrapped driver has noticed.
        """
        try:
            backup = objects.Backup.get_by_id(self.context, backup.id)
        except Exception as error:
            LOG.warning('Backup %s keeps the properties that it was '
                        'requested with: it cannot be seen whether they were '
                        'changed meanwhile.', backup.id,
                        exc_info=plain.error(error))
        return metadata.without_claim(backup.metadata)


def _install() -> type:
    """Take our place in cinder-backup, or refuse to start.

    :returns: the driver's class
    :raises ConfigurationError: the options or this Cinder do not permit it
    """
    settings = conf.read(conf.register(CONF), methods.installed())
    for contradiction in conf.contradictions(settings):
        LOG.warning('[%(group)s] %(what)s.',
                    {'group': conf.GROUP, 'what': contradiction})
    wrapped = manager_hooks.wrapped_path(settings.wrapped_driver, NAME)
    backups = backup_windows.Backups(settings)
    wrapped_class = _import(wrapped)
    is_ceph = plans.CEPH in wrapped
    assumptions.check(wrapped_class, is_ceph)
    manager_hooks.install(NAME, wrapped, backups)
    return type(NAME.rpartition('.')[2],
                (Claiming, *((ceph_hooks.InWindow,) if is_ceph else ()),
                 wrapped_class),
                {'__module__': __name__, 'backups': backups})


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


WriteThroughBackupDriver: type = (
    _install() if manager_hooks.is_configured(CONF, NAME) else Claiming)
