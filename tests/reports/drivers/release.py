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

"""python -m tests.reports.drivers.release: the rows of the set release."""

import argparse
from collections.abc import Iterator
import json
import pathlib
import re
import sys

from tests.support.cloud import cloud
from tests.support.cloud import drivers
from tests.support.cloud import layout
from tests.support.cloud import resources
from tests.support.drivers import rows
from tests.support.stage import stage


def settings() -> Iterator[rows.Setting]:
    """Each driver in each mode; more, where the release is our own."""
    ceph, files = resources.VOLUME_TYPE, resources.FILES
    for driver in drivers.DRIVERS:
        yield rows.Setting(driver, ceph)
    if layout.RELEASE:
        return
    for driver in drivers.DRIVERS:
        yield rows.Setting(driver, ceph, True, rows.SEVERAL)
    for driver in ('posix', 'ceph'):
        yield rows.Setting(driver, ceph, False, rows.SEVERAL)
        yield rows.Setting(driver, ceph, True)
        yield rows.Setting(driver, files)
    yield rows.Setting('posix', files, True)
    yield rows.Setting('posix', resources.SNAPSHOTS)


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
        made.boot(stage.MEMORY_MIB)
        for setting in settings():
            if re.search(options.only, ' '.join(setting.cells)):
                print(json.dumps((*setting.cells, *rows.row(made, setting))),
                      file=out, flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
