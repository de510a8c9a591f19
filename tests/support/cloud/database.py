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

"""MariaDB: its data, the databases of the services, their schemas."""

import pathlib
import shutil
import time
from typing import cast

import pymysql

from tests.support.cloud import configs
from tests.support.cloud import console
from tests.support.cloud import layout
from tests.support.cloud import process

_NAMES = ('cinder', 'glance', 'keystone', 'nova', 'nova_api', 'nova_cell0',
          'placement')


def install() -> None:
    """Make the server's own tables."""
    data = layout.DATA / 'mariadb'
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    console.run('mariadb-install-db',
                f'--defaults-file={configs.MARIADB_CONF}', '--user=root',
                '--auth-root-authentication-method=normal', '--skip-test-db',
                '--rpm', log=layout.log_file('mariadb'))


def is_ready(_since: float) -> bool:
    """Whether the server answers."""
    query('SELECT 1')
    return True


def create() -> None:
    """Make the databases, and the one account that uses them."""
    for host in ('localhost', '%'):
        query(f"CREATE OR REPLACE USER openstack@'{host}' "
              f"IDENTIFIED BY '{layout.PASSWORD}'")
        for name in _NAMES:
            query(f'CREATE DATABASE IF NOT EXISTS {name}')
            query(f"GRANT ALL ON {name}.* TO openstack@'{host}'")


def query(text: str, *values: object) -> tuple[tuple[object, ...], ...]:
    """The rows that a statement gives. OSError when there is no server."""
    try:
        connection = pymysql.connect(
            unix_socket=str(layout.MARIADB_SOCKET), user='root',
            connect_timeout=5, autocommit=True)
    except pymysql.OperationalError as err:
        raise ConnectionError(str(err)) from err
    with connection, connection.cursor() as cursor:
        cursor.execute(text, values or None)
        return tuple(cursor.fetchall())


class Heartbeat:
    """Whether a service of Cinder or Nova is alive, by its own reports."""

    # It also writes to its record while it starts, but not later than this.
    STARTING = 20.0

    def __init__(self, database: str, binary: str, host: str) -> None:
        self._query = (
            'SELECT report_count, '
            'UTC_TIMESTAMP() - INTERVAL %s SECOND < updated_at '
            f'FROM {database}.services '
            'WHERE `binary` = %s AND host = %s AND NOT deleted')
        self._who = binary, host
        self._first: int | None = None

    def __call__(self, since: float) -> bool:
        """Look once; a service that just started has to be seen twice."""
        age = time.time() - since - self.STARTING
        rows = query(self._query, max(age, 0), *self._who)
        if not rows:
            return False
        count, is_later = cast(tuple[int, int | None], rows[0])
        if self._first is None:
            self._first = count
        return bool(is_later) or count > self._first


def forget_service(database: str, binary: str, host: str) -> None:
    """Remove a service that will not come back."""
    query(f'DELETE FROM {database}.services '
          'WHERE `binary` = %s AND host = %s', binary, host)


def compute_is_mapped() -> bool:
    """Whether Nova's scheduler knows in which cell the compute host is."""
    return bool(query('SELECT 1 FROM nova_api.host_mappings'))


def sync_cinder() -> None:
    """Make Cinder's tables."""
    _manage('cinder', layout.CINDER_CONF, 'db', 'sync',
            venv=layout.CINDER_VENV)


def sync_glance() -> None:
    """Make Glance's tables."""
    _manage('glance', layout.GLANCE_CONF, 'db_sync')


def sync_placement() -> None:
    """Make Placement's tables."""
    _manage('placement', layout.PLACEMENT_CONF, 'db', 'sync')


def sync_keystone() -> None:
    """Make Keystone's tables and keys, and the first administrator."""
    as_root = ('--keystone-user', 'root', '--keystone-group', 'root')
    address = layout.url('keystone', '/v3/')
    _manage('keystone', layout.KEYSTONE_CONF, 'db_sync')
    _manage('keystone', layout.KEYSTONE_CONF, 'fernet_setup', *as_root)
    _manage('keystone', layout.KEYSTONE_CONF, 'credential_setup', *as_root)
    _manage('keystone', layout.KEYSTONE_CONF, 'bootstrap',
            '--bootstrap-password', layout.PASSWORD,
            '--bootstrap-public-url', address,
            '--bootstrap-internal-url', address,
            '--bootstrap-admin-url', address,
            '--bootstrap-region-id', layout.REGION)


def sync_nova() -> None:
    """Make Nova's tables in both databases, and its one cell."""
    _manage('nova', layout.NOVA_CONF, 'api_db', 'sync')
    if not query('SELECT 1 FROM nova_api.cell_mappings'):
        cell0 = (f'mysql+pymysql://openstack:{layout.PASSWORD}@'
                 f'{layout.ADDRESS}/nova_cell0?charset=utf8mb4')
        _manage('nova', layout.NOVA_CONF, 'cell_v2', 'map_cell0',
                '--database_connection', cell0)
    if len(query('SELECT 1 FROM nova_api.cell_mappings')) < 2:
        _manage('nova', layout.NOVA_CONF, 'cell_v2', 'create_cell',
                '--name', 'cell1')
    _manage('nova', layout.NOVA_CONF, 'db', 'sync')


def _manage(project: str, conf: object, *command: str,
            venv: pathlib.Path = layout.VENV) -> None:
    console.run(venv / 'bin' / f'{project}-manage', '--config-file',
                str(conf), *command, env=process.ENVIRONMENT,
                log=layout.log_file(f'{project}-database'))
