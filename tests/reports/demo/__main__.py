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

"""python3 -m tests.reports.demo: stock Cinder and the plugin, side by side."""

import argparse
import os
import pathlib
import signal
import sys

from tests.support.cloud import console
from tests.support.cloud import install
from tests.support.cloud import layout


def main() -> int:
    """Run the demo, in the virtual environment; 0 means shown."""
    options = _parser().parse_args()
    try:
        if sys.prefix != str(layout.VENV):
            install.everything()
            os.chdir(layout.ROOT)
            os.execv(layout.PYTHON, [
                str(layout.PYTHON), '-W', 'ignore', '-m', 'tests.reports.demo',
                *sys.argv[1:]])
        # Cleaning up is for SIGTERM too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from tests.reports.demo import run
        return run.run(options)
    except console.CloudError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python3 -m tests.reports.demo', description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--fs', default='ext4',
                        choices=('ext4', 'xfs', 'btrfs'),
                        help='filesystem on the volume')
    parser.add_argument('--records', type=float, default=200,
                        help='records that the workload writes a second')
    parser.add_argument('--dirty', type=int, default=300,
                        help='dirty data at each request, in MiB')
    parser.add_argument('--throttle', type=int, default=60,
                        help='what the volume writes at most, in MB/s')
    parser.add_argument('--json', type=pathlib.Path,
                        help='write what was found to this file too')
    parser.add_argument('--keep', action='store_true',
                        help='leave the server, volumes and backups there')
    return parser


if __name__ == '__main__':
    sys.exit(main())
