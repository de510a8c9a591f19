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


"""python -m tests.reports.drivers: each stock driver, as a table."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from tests.support.cloud import console
from tests.support.cloud import environment
from tests.support.cloud import layout
from tests.support.drivers import operations
from tests.support.drivers import rows

INTRODUCTION = '''\
# Each stock driver with the plugin

Written by `make drivers DRIVERS="--report FILE"`: each row is a mounted volume
of a server in a real cloud that is written to, and what a backup claims was
looked for in each volume that was restored. posix, nfs and glusterfs store in
a folder (a bind mount stands in for the share: this kernel mounts neither),
ceph in RADOS, swift and s3 in Ceph's object store, gcs in an emulator.
Volumes of type `nfs` are those of Cinder's NFS driver, in a folder as well;
`snapshots` is the same with `backup_use_temp_snapshot`, through a driver of
the test cloud's that lets a snapshot be read. The oldest release knows only
eventlet. Cinder permits a worker for each processor: it was told of more than
there are. `no keys` is as it has to be: stock Cinder made it, or it is of a
snapshot. The ceph driver never could delete a backup by force.
'''
# The newest that we know, which the test cloud has, and the oldest.
RELEASES = {environment.RELEASES[-1].name: '', environment.RELEASES[0].name:
            environment.RELEASES[0].name}
HEAD = ('Cinder', 'driver', 'volume on', 'mode', 'workers')


def main() -> int:
    """Run what the command line asks for; 1 when something went wrong."""
    options = _options()
    table = _table(list(_rows(options)))
    print(table)
    if options.report:
        options.report.write_text(f'{INTRODUCTION}\n{table}\n')
    return int(rows.FAILED in table or table.count('\n') < 2)


def _rows(options: argparse.Namespace) -> Iterator[Sequence[str]]:
    for name, release in RELEASES.items():
        if re.search(options.release, name):
            for row in _in_cloud(release, options.only):
                yield (name, *row)


def _in_cloud(release: str, only: str) -> list[Sequence[str]]:
    """Do the rows of one release, in a cloud of its own."""
    def run(*module: str) -> int:
        return subprocess.run((sys.executable, '-W', 'ignore', '-m', *module),
                              env=os.environ | {'CINDER_RELEASE': release}
                              ).returncode
    note = layout.CLOUD / 'release'
    if note.exists() and note.read_text() != release:
        console.say('the cloud has another release: removing it')
        run('tests.support.cloud', 'destroy')
    with tempfile.NamedTemporaryFile('r') as found:
        status = run('tests.reports.drivers.release', only, found.name)
        done = [json.loads(line) for line in found]
    if status:
        done.append([f'{rows.FAILED}: the others, status {status}'])
    return done


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.reports.drivers',
        description='What can be done with backups of each stock driver. The '
        'cloud is removed, and made again, where it has another release.')
    parser.add_argument('--release', default='', metavar='REGEX',
                        help=f'only releases of: {", ".join(RELEASES)}')
    parser.add_argument('--only', default='', metavar='REGEX',
                        help='only rows with this in "driver, volume type, '
                        'mode, workers", spaces in between')
    parser.add_argument('--report', type=pathlib.Path, metavar='FILE',
                        help='where the table goes besides')
    return parser.parse_args()


def _table(found: Sequence[Sequence[str]]) -> str:
    head = (*HEAD, *(operation.__name__.replace('_', ' ')
                     for operation in operations.ALL))
    lines = [head, ('---',) * len(head), *found]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


if __name__ == '__main__':
    sys.exit(main())
