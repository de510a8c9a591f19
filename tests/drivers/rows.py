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


"""python -m tests.drivers.rows: the rows of the release that is set."""

import argparse
from collections.abc import Iterator
import contextlib
import dataclasses
import json
import pathlib
import re
import sys

import openstack

from tests.cloud import cloud
from tests.cloud import console
from tests.cloud import layout
from tests.cloud import resources
from tests.demo import stage
from tests.drivers import bench as benches
from tests.drivers import operations
from tests import guests
from tests.system import base

FAILED = 'FAILED'
SEVERAL = 3
# Release and driver: why there is no row, whether with the plugin or not.
DEFECTS = {
    ('2024.1', 'gcs'): "this Cinder's driver stores nothing: it encodes bytes "
                       '(GoogleObjectWriter.close)'}
_WRONG = (console.CloudError, guests.GuestError,
          openstack.exceptions.SDKException)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a row is about.

    :ivar kind: the volume's type, and so its back end
    :ivar threads: native threads instead of eventlet
    """

    driver: str
    kind: str
    threads: bool = False
    workers: int = 1

    @property
    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        mode = 'native threads' if self.threads else 'eventlet'
        return self.driver, self.kind, mode, str(self.workers)


def settings() -> Iterator[Setting]:
    """Each driver in each mode; more, where the release is our own."""
    ceph, files = resources.VOLUME_TYPE, resources.FILES
    for driver in base.DRIVERS:
        yield Setting(driver, ceph)
    if layout.RELEASE:
        return
    for driver in base.DRIVERS:
        yield Setting(driver, ceph, True, SEVERAL)
    for driver in ('posix', 'ceph'):
        yield Setting(driver, ceph, False, SEVERAL)
        yield Setting(driver, ceph, True)
        yield Setting(driver, files)
    yield Setting('posix', files, True)
    yield Setting('posix', resources.SNAPSHOTS)


def main() -> int:
    """Do the rows that are asked for; 1 when something went wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument('only', help='regular expression')
    parser.add_argument('file', type=pathlib.Path, help='gets a line a row')
    options = parser.parse_args()
    cloud.up()
    with (cloud.connect() as connection,
          stage.Stage(connection, keep=False) as made,
          options.file.open('a') as out):
        made.boot(base.MEMORY_MIB)
        for setting in settings():
            if re.search(options.only, ' '.join(setting.cells)):
                print(json.dumps((*setting.cells, *row(made, setting))),
                      file=out, flush=True)
    return 0


def row(server: stage.Stage, setting: Setting) -> list[str]:
    """Return what each operation came to.

    :param server: has one, whose volume is backed up
    """
    defect = DEFECTS.get((layout.RELEASE, setting.driver))
    if defect:
        return [f'n/a: {defect}', *[''] * (len(operations.ALL) - 1)]
    cells: list[str] = []
    with server.part() as made:
        bench = benches.Bench(made, setting.driver, setting.kind,
                              setting.threads, setting.workers)
        for operation in operations.ALL:
            if cells and not bench.links:
                # Without a first backup there is nothing to go on with.
                return [*cells, *[''] * (len(operations.ALL) - len(cells))]
            try:
                cells.append(operation(bench))
            except _WRONG as error:
                cells.append(' '.join(f'{FAILED}: {error}'.split()))
                with contextlib.suppress(*_WRONG):
                    bench.await_idle()
            console.say(f'{", ".join(setting.cells)}: '
                        f'{operation.__name__}: {cells[-1]}')
    return cells


if __name__ == '__main__':
    sys.exit(main())
