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

"""How long open windows are looked for among many volumes, as a table.

In a database of its own in the test cloud's MariaDB, with the admin metadata
of so many volumes that have all been backed up once, and the package's own
query; beside it the filter of volumes that Cinder itself has.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import statistics
import time

from cinder.common import config  # noqa: F401  registers Cinder's options
from cinder import context as contexts
from cinder import objects
from oslo_config import cfg

from cinder_wt_backup.service import database as records
from cinder_wt_backup.service import store
from tests.support.cloud import cloud
from tests.support.cloud import database
from tests.support.cloud import layout

SCRATCH = 'wt_records'
OPEN = 5
ROUNDS = 5


def main() -> None:
    """Fill, measure, and remove it again."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.reports.records', description=__doc__)
    parser.add_argument('--volumes', type=int, nargs='+', metavar='N',
                        default=[100_000, 1_000_000])
    given = parser.parse_args()
    cloud.up(['mariadb', 'cinder-data'])
    cfg.CONF([], project='cinder', default_config_files=[])
    cfg.CONF.set_override(
        'connection', f'mysql+pymysql://openstack:{layout.PASSWORD}@'
        f'{layout.ADDRESS}/{SCRATCH}', 'database')
    objects.register_all()
    print('| volumes | by the package, ms | by Cinder\'s filter, ms |')
    print('| --- | --- | --- |')
    try:
        for volumes in given.volumes:
            _fill(volumes)
            print(f'| {volumes:,} | {_milliseconds(_by_package):.0f} | '
                  f'{_milliseconds(_by_cinder):.0f} |', flush=True)
    finally:
        database.query(f'DROP DATABASE IF EXISTS {SCRATCH}')


def _fill(volumes: int) -> None:
    """Make a database with so many volumes, each backed up once."""
    database.query(f'DROP DATABASE IF EXISTS {SCRATCH}')
    database.query(f'CREATE DATABASE {SCRATCH}')
    for host in ('localhost', '%'):
        database.query(f"GRANT ALL ON {SCRATCH}.* TO openstack@'{host}'")
    for table, in database.query('SHOW TABLES IN cinder'):
        database.query(f'CREATE TABLE {SCRATCH}.{table} LIKE cinder.{table}')
    numbers = f'FROM {SCRATCH}.seq_1_to_{volumes}'
    database.query(
        f'INSERT INTO {SCRATCH}.volumes (id, deleted, status, host, use_quota,'
        f' volume_type_id, created_at) SELECT CONCAT("volume-", seq), 0, '
        f'"in-use", "host@backend#pool", 1, "type", NOW() {numbers}')
    for key, value in (('readonly', '"False"'), ('attached_mode', '"rw"'),
                       (store.WINDOW, '""'), (store.CLAIM, 'REPEAT("x", 250)'),
                       (store.HOST, f'IF(seq <= {OPEN}, "host", "")')):
        database.query(
            f'INSERT INTO {SCRATCH}.volume_admin_metadata (volume_id, deleted,'
            f' `key`, value) SELECT CONCAT("volume-", seq), 0, "{key}", '
            f'{value} {numbers}')


def _by_package() -> int:
    return len(records.volumes_with(contexts.get_admin_context(), store.HOST))


def _by_cinder() -> int:
    return len(objects.VolumeList.get_all(
        contexts.get_admin_context(),
        filters={'metadata': {store.HOST: 'host'}}))


def _milliseconds(ask: Callable[[], int]) -> float:
    """Return how long a question takes, at the median."""
    taken = []
    for _round in range(ROUNDS):
        began = time.monotonic()
        found = ask()
        taken.append(1000 * (time.monotonic() - began))
        assert found == OPEN, found
    return statistics.median(taken)


if __name__ == '__main__':
    main()
