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

"""This host: options, the wrapped driver, Cinder, coordination, database."""

from __future__ import annotations

from collections.abc import Iterator
import urllib.parse

from cinder import context as contexts
from cinder import coordination
from cinder import objects
from oslo_config import cfg
from oslo_utils import importutils
from tooz import coordination as tooz

from cinder_wt_backup.checks import row
from cinder_wt_backup.checks import user as users
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.service import assumptions
from cinder_wt_backup.service import manager_hooks
from cinder_wt_backup.service import plan as plans
from cinder_wt_backup.window import methods

# tooz drivers whose locks are of one host.
OF_ONE_HOST = ('file', 'ipc')
BINARY = 'cinder-backup'
UPDATE = ('set backup_driver back to the wrapped driver, or install a version '
          'of cinder-wt-backup that was made for this Cinder')


def check(options: cfg.ConfigOpts) -> Iterator[row.Row]:
    """Check what this host needs, before any other is asked."""
    yield _configured(options)
    user = users.other_user()
    if user:
        yield row.warning('user', 'this is root, who may read and connect '
                          'where cinder-backup may not',
                          f'check as {user}: sudo -u {user}')
    yield from row.guarded('options', lambda: _options(options),
                           f'mend the [{conf.GROUP}] section')
    yield from row.guarded('wrapped driver', lambda: _wrapped(options),
                           f'set [{conf.GROUP}] wrapped_driver to the driver '
                           f'that backup_driver named before')
    yield from row.guarded('database', _database,
                           'see that the database of [database] connection '
                           'works, and that this user may read cinder.conf')
    yield from row.guarded('coordination', lambda: _coordination(options),
                           'see that what [coordination] backend_url names '
                           'works, and is the same on all hosts of '
                           'cinder-backup and cinder-volume')


def _configured(options: cfg.ConfigOpts) -> row.Row:
    files = ', '.join(options.config_file or ())
    if not files:
        return row.failure('configuration', 'no cinder.conf was found',
                           'name it by --config-file')
    if options.backup_driver != conf.DRIVER:
        return row.failure(
            'configuration', f'{files}: backup_driver = '
            f'{options.backup_driver}, so that stock Cinder makes the backups',
            f'set [DEFAULT] backup_driver = {conf.DRIVER}')
    return row.success('configuration', files)


def _options(options: cfg.ConfigOpts) -> Iterator[row.Row]:
    settings = conf.read(options[conf.GROUP], methods.installed())
    found = conf.contradictions(settings)
    yield from (row.warning('options', contradiction,
                            f'change one of them in [{conf.GROUP}]')
                for contradiction in found)
    if not found:
        yield row.success('options', f'methods = '
                          f'{",".join(settings.methods) or "none"}, '
                          f'required_level = {settings.required_level.value}')
    if not settings.methods:
        yield row.warning('options', 'with empty methods no backup is more '
                          'than stock Cinder\'s',
                          f'set [{conf.GROUP}] methods')


def _wrapped(options: cfg.ConfigOpts) -> Iterator[row.Row]:
    path = manager_hooks.wrapped_path(options[conf.GROUP].wrapped_driver,
                                      conf.DRIVER)
    wrapped = importutils.import_class(path)
    yield row.success('wrapped driver', path)
    try:
        assumptions.check(wrapped, plans.CEPH in path)
    except exceptions.ConfigurationError as error:
        yield row.failure('this Cinder', str(error), UPDATE)
    else:
        yield row.success('this Cinder', 'has all that is used of it')


def _database() -> Iterator[row.Row]:
    services = _services()
    down = [service.host for service in services if not service.is_up]
    if down:
        yield row.warning('database', f'cinder-backup is down at '
                          f'{", ".join(down)}, says Cinder',
                          'start it there, or remove the service from Cinder')
    yield row.success('database', f'answers; {len(services)} hosts of '
                      f'cinder-backup')


def _services() -> list[objects.Service]:
    return list(objects.ServiceList.get_all(
        contexts.get_admin_context(), {'binary': BINARY}))


def _coordination(options: cfg.ConfigOpts) -> Iterator[row.Row]:
    url = options.coordination.backend_url
    scheme = urllib.parse.urlsplit(url).scheme
    coordination.COORDINATOR.start()
    try:
        lock = coordination.COORDINATOR.get_lock('wt-backup-check')
        try:
            held = lock.acquire(blocking=False)
        except tooz.LockAcquireFailed:
            held = False
        if held:
            lock.release()
    finally:
        coordination.COORDINATOR.stop()
    yield from _of_how_many_hosts(scheme)


def _of_how_many_hosts(scheme: str) -> Iterator[row.Row]:
    try:
        hosts = len(_services())
    except Exception as error:
        yield row.warning('coordination', f'how many hosts need it is not '
                          f'known: {row.text_of(error)}',
                          'see that the database works')
        return
    if scheme in OF_ONE_HOST and hosts > 1:
        yield row.warning(
            'coordination', f'{scheme}:// has locks of one host, unless they '
            f'share its folder, and there are {hosts} hosts of cinder-backup',
            'set [coordination] backend_url to what they share, for example '
            'etcd or redis')
    else:
        yield row.success('coordination', f'{scheme}:// works')
