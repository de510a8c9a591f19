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

"""How long backups wait beside tenants who are hostile, as a table."""

from __future__ import annotations

import argparse
import statistics

from oslo_config import cfg

from cinder_wt_backup import conf
from cinder_wt_backup.window import methods
from tests.support import tenants


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.reports.fairness', description=__doc__)
    parser.add_argument('--honest', type=int, default=36, metavar='N',
                        help='so many backups of other projects (36)')
    given = parser.parse_args()
    config = cfg.ConfigOpts()
    group = conf.register(config)
    config([], project='cinder', default_config_files=[])
    settings = conf.read(group, methods.installed())
    print('| back end | hostile volumes | other backups | without a window | '
          'longest wait, s | median, s | longest snapshot, s |')
    print('| --- | --- | --- | --- | --- | --- | --- |')
    for serial in (True, False):
        for hostile in (0, 16, 60, 200):
            print(_row(settings, hostile, given.honest, serial, every=5))
        for honest in (6, 60):
            print(_row(settings, 0, honest, serial, every=0))


def _row(settings: conf.Settings, hostile: int, honest: int,
         serial: bool, every: float) -> str:
    made = tenants.simulate(settings, hostile, honest, serial, every)
    waited = sorted(each.waited for each in made)
    cells = ('one at a time' if serial else 'all at once', hostile,
             f'{honest}, one every {every} s' if every else
             f'{honest} at once',
             honest - len(made),
             f'{waited[-1]:.1f}', f'{statistics.median(waited):.1f}',
             f'{max(each.passed - each.cast for each in made):.1f}')
    return '| ' + ' | '.join(map(str, cells)) + ' |'


if __name__ == '__main__':
    main()
