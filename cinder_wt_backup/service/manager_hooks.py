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

"""Steps around BackupManager: the only module that knows Cinder's manager.

Cinder makes its temporary snapshot before any method of a backup driver is
called, so being its backup driver is not enough. What is relied on is checked
when the service starts, and a Cinder in which it differs is refused.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any

from cinder.backup import manager as managers
from cinder import context as contexts
from cinder import exception
from cinder import objects
from cinder.objects import fields
from cinder import service as services
from oslo_config import cfg
from oslo_log import log as logging

from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup import plain
from cinder_wt_backup.service import backup_windows
from cinder_wt_backup.service import fairness
from cinder_wt_backup.service import plan as plans
from cinder_wt_backup.service import queue
from cinder_wt_backup import steps

LOG = logging.getLogger(__name__)
# A method of Cinder's, which carries no types.
Original = Callable[..., Any]
# What the wrapper of cinder.utils.limit_operations looks up.
LIMIT = '_semaphore'


def is_configured(options: cfg.ConfigOpts, name: str) -> bool:
    """Whether this process is a cinder-backup that has us as its driver."""
    return 'backup_driver' in options and options.backup_driver == name


def wrapped_path(path: str | None, own: str) -> str:
    """Return the wrapped driver's class path as Cinder would record it.

    :param path: the option wrapped_driver
    :param own: our own class path
    :raises ConfigurationError: there is none, or it is our own
    """
    if not path or path.rpartition('.')[0] == own.rpartition('.')[0]:
        raise exceptions.ConfigurationError(
            f'[{conf.GROUP}] wrapped_driver = {path}: set it to the stock '
            f'driver that backup_driver named before, for example '
            f'cinder.backup.drivers.posix.PosixBackupDriver.')
    return str(managers.MAPPING.get(path, path))


def install(own: str, wrapped: str, backups: backup_windows.Backups) -> None:
    """Put our steps around BackupManager's.

    :param own: our driver's path, as in cinder.conf
    :param wrapped: the wrapped driver's path, as it is recorded
    """
    ours = _Steps(own, wrapped, backups)
    for owner, names in (
            (managers.BackupManager, (
                'init_host', '_is_our_backup', 'create_backup',
                '_start_backup', 'continue_backup', 'run_periodic_tasks')),
            (services.Service, ('stop', 'wait'))):
        for name in names:
            original = getattr(owner, name)
            setattr(owner, name, functools.wraps(original)(
                _bound(getattr(ours, name), original)))


class _Steps:
    """What each method does besides, and when.

    Each is called with the original, its object and the arguments.
    """

    def __init__(self, own: str, wrapped: str,
                 backups: backup_windows.Backups) -> None:
        self._own, self._wrapped, self._backups = own, wrapped, backups

    def init_host(self, original: Original, manager: managers.BackupManager,
                  **kwargs: object) -> object:
        # Here and not in __init__, which is running when we are imported.
        self._identify(manager)
        # Before Cinder's own clean-up, which deletes what we would look for.
        self._backups.look_after(contexts.get_admin_context(), manager.host)
        return original(manager, **kwargs)

    def run_periodic_tasks(self, original: Original,
                           manager: managers.BackupManager,
                           context: contexts.RequestContext,
                           raise_on_error: bool = False) -> object:
        # Every periodic_interval: what other processes and hosts left.
        try:
            return original(manager, context, raise_on_error=raise_on_error)
        finally:
            self._backups.look_after(context, manager.host)

    def _is_our_backup(self, original: Original,
                       manager: managers.BackupManager, backup: objects.Backup
                       ) -> bool:
        service = backup if isinstance(backup, str) else backup.service
        if service and (service == self._own
                        or self._wrapped.startswith(service)):
            return True
        return bool(original(manager, backup))

    def create_backup(self, original: Original,
                      manager: managers.BackupManager,
                      context: contexts.RequestContext,
                      backup: objects.Backup) -> None:
        self._identify(manager)
        planned = self._plan(context, backup)
        if planned is None:
            original(manager, context, backup)
            return

        def go_on() -> None:
            # In a thread of its own, as RPC does for each of its own.
            context.update_store()
            _unlimited(original)(manager, context, backup)
        self._backups.queue.start(*planned, go_on)

    def stop(self, original: Original, service: services.Service) -> object:
        try:
            self._backups.queue.stop()
            self._backups.recovery.end()
        finally:
            result = original(service)
        return result

    def wait(self, original: Original, service: services.Service) -> object:
        try:
            return original(service)
        finally:
            self._backups.queue.join()

    def _plan(self, context: contexts.RequestContext, backup: objects.Backup
              ) -> tuple[plans.BackupPlan, fairness.Wish] | None:
        """Return what is to be done, in a window of cinder-volume's snapshot.

        None: there is none; or what is wrong will be told later, by Cinder.
        """
        try:
            plan = self._backups.plan(backup, objects.Volume.get_by_id(
                context, backup.volume_id), self._wrapped)
            if plan.has_window and not plan.in_driver:
                return plan, queue.wish_of(plan)
        except Exception as error:
            LOG.debug('Backup %s does not wait for its turn.', backup.id,
                      exc_info=plain.error(error))
        return None

    def _start_backup(self, original: Original,
                      manager: managers.BackupManager,
                      context: contexts.RequestContext, backup: objects.Backup,
                      volume: objects.Volume) -> object:
        self._identify(manager)
        if backup.service == self._own:
            backup.service = self._wrapped
            backup.save()
        plan = self._backups.plan(backup, volume)
        if not plan.in_driver:
            manager = _CastInWindow(manager, self._backups, plan)
        return original(manager, context, backup, volume)

    def continue_backup(self, original: Original,
                        manager: managers.BackupManager,
                        context: contexts.RequestContext,
                        backup: objects.Backup, backup_device: object
                        ) -> object:
        # Outside limit_operations: the guest does not wait for a worker.
        try:
            self._backups.close_window(context, backup)
        except Exception as error:
            LOG.error('Backup %s goes on; its window is left to its '
                      'lease.', backup.id, exc_info=plain.error(error))
        return original(manager, context, backup, backup_device)

    def _identify(self, manager: managers.BackupManager) -> None:
        # Its service is our class already: __init__ imported it.
        if manager.driver_name == self._own:
            manager.driver_name = self._wrapped


class _CastInWindow:
    """The manager as ``_start_backup`` sees it: its cast opens the window.

    So the key manager's call before the cast is made outside the window.
    """

    def __init__(self, manager: managers.BackupManager,
                 backups: backup_windows.Backups,
                 plan: plans.BackupPlan) -> None:
        self._manager = manager
        self._backups = backups
        self._plan = plan

    def __getattr__(self, name: str) -> object:
        return getattr(self._manager, name)

    @property
    def volume_rpcapi(self) -> '_CastInWindow':
        return self

    def get_backup_device(self, context: contexts.RequestContext,
                          backup: objects.Backup, volume: objects.Volume
                          ) -> None:
        with self._backups.window(context, self._plan) as window:
            self._manager.volume_rpcapi.get_backup_device(context, backup,
                                                          volume)
            try:
                if window is not None:
                    steps.reached(steps.Step.CAST, window.token)
                    window.wait(lambda: _finished(context, backup.id))
            except Exception as error:
                # The cast is out: what it leads to is not ours to fail.
                LOG.error('Backup %s: the end of its snapshot was not waited '
                          'for.', backup.id, exc_info=plain.error(error))


def _finished(context: contexts.RequestContext, backup_id: str) -> bool:
    """Whether the database shows the temporary object as finished.

    VolumeDriver._get_backup_volume_temp_volume and its twin for snapshots
    save its id once it is there; a driver that saves it before is waited for.

    :raises BackupGone: nobody waits for it any more
    """
    try:
        backup = objects.Backup.get_by_id(context, backup_id)
    except exception.BackupNotFound:
        backup = None
    if backup is None or backup.status != fields.BackupStatus.CREATING:
        raise exceptions.BackupGone('the backup was deleted or reset while '
                                    'its snapshot was made')
    if backup.temp_volume_id:
        made = objects.Volume.get_by_id(context, backup.temp_volume_id)
    elif backup.temp_snapshot_id:
        made = objects.Snapshot.get_by_id(context, backup.temp_snapshot_id)
    else:
        return False
    return made.status not in ('creating', 'error')


def _unlimited(create: Original) -> Original:
    """Return create_backup without backup_max_operations, if it has that.

    Before 2026 cinder.utils.limit_operations counts it: it waits for a window
    and a snapshot, while the transfer in continue_backup is not counted. Since
    then it is the other way round.
    """
    code = getattr(create, '__code__', None)
    return create.__wrapped__ if code and LIMIT in (
        code.co_names) and hasattr(create, '__wrapped__') else create


def _bound(step: Original,
           original: Original) -> Original:
    def method(manager: managers.BackupManager, *args: object, **kwargs: object
               ) -> object:
        return step(original, manager, *args, **kwargs)
    return method
