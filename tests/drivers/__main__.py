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


"""python -m tests.drivers: each stock driver, in both modes of Cinder."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import pathlib
import re
import sys

import openstack

from tests.cloud import cloud
from tests.cloud import console
from tests.cloud import resources
from tests.demo import stage
from tests.drivers import bench as benches
from tests.drivers import operations
from tests import guests
from tests.system import base

INTRODUCTION = '''\
# Each stock driver with the plugin

Written by `make drivers DRIVERS="--report FILE"`: each row is a server of a
real cloud whose mounted volume is written to. posix, nfs and glusterfs store
in a folder (a bind mount stands in for the share: this kernel mounts neither),
ceph in RADOS, swift and s3 in Ceph's object store. What a backup claims was
looked for in each volume that was restored. gcs has no store here; Cinder's
own tests of it pass (`make cinder-tests`).
'''
MODES = {'eventlet': False, 'native threads': True}
FAILED = 'FAILED'
_WRONG = (console.CloudError, guests.GuestError,
          openstack.exceptions.SDKException)


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of one driver in one mode."""

    driver: str
    backend: str
    mode: str
    cells: tuple[str, ...]


def main() -> int:
    """Run what the command line asks for; 1 when something went wrong."""
    options = _options()
    cloud.up()
    with cloud.connect() as connection:
        rows = [_row(connection, *chosen) for chosen in _chosen(options)]
    table = _table(rows)
    print(table)
    if options.report:
        options.report.write_text(f'{INTRODUCTION}\n{table}\n')
    return int(FAILED in table)


def _chosen(options: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    pairs = [(driver, resources.VOLUME_TYPE) for driver in base.DRIVERS]
    for driver, backend in (*pairs, ('posix', resources.FILES),
                            ('ceph', resources.FILES)):
        for mode in MODES:
            if re.search(options.driver, f'{driver} {backend}') and re.search(
                    options.mode, mode):
                yield driver, backend, mode


def _row(connection: openstack.connection.Connection, driver: str,
         backend: str, mode: str) -> Row:
    cells: list[str] = []
    with stage.Stage(connection, keep=False) as made:
        bench = benches.Bench(made, driver, backend, MODES[mode])
        for operation in operations.ALL:
            try:
                cells.append(operation(bench))
            except _WRONG as error:
                cells.append(f'{FAILED}: {error}')
            console.say(f'{driver}, {backend}, {mode}: '
                        f'{operation.__name__}: {cells[-1]}')
            if cells[-1].startswith(FAILED) and not bench.links:
                break
    return Row(driver, backend, mode, tuple(cells))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.drivers',
        description='What can be done with backups of each stock driver.')
    parser.add_argument('--driver', default='', metavar='REGEX',
                        help='only where this is found in "driver backend"')
    parser.add_argument('--mode', default='', metavar='REGEX',
                        help=f'only modes: {", ".join(MODES)}')
    parser.add_argument('--report', type=pathlib.Path, metavar='FILE',
                        help='where the table goes besides')
    return parser.parse_args()


def _table(rows: Sequence[Row]) -> str:
    names = [operation.__name__.replace('_', ' ')
             for operation in operations.ALL]
    head = ('driver', 'volume on', 'mode', *names)
    lines = [head, ('---',) * len(head)]
    lines += [(row.driver, row.backend, row.mode, *row.cells)
              for row in rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


if __name__ == '__main__':
    sys.exit(main())
