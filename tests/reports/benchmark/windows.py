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

"""Windows on a volume, for ``make benchmark``; their times as JSON.

A program by itself, which measures the package that is in its ``PYTHONPATH``:
so another checkout is measured on the same guest, if its modules are called
as here. For each window it waits
for a line, opens it and says so, waits for a line, closes it and says how long
both took.
"""

import argparse
import json
import sys
import time

from cinder.common import config  # noqa: F401  registers Cinder's options
from cinder import context as cinder_context
from cinder import coordination
from cinder import objects
from cinder.objects import base as _options   # noqa: F401
from oslo_config import cfg

from cinder_wt_backup import conf
from cinder_wt_backup.guest import agent
from cinder_wt_backup.service import attachments
from cinder_wt_backup.service import process
from cinder_wt_backup.window import methods
from cinder_wt_backup.window import volume as windows


def main() -> None:
    """Open and close them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('volume')
    parser.add_argument('config', nargs='+', help='files of options')
    parser.add_argument('--rounds', type=int, required=True)
    parser.add_argument('--poll', type=float, help='ask so often, in seconds')
    given = parser.parse_args()
    if given.poll:
        agent.FIRST_POLL = agent.LAST_POLL = given.poll
    cfg.CONF([f'--config-file={name}' for name in given.config],
             project='cinder')
    conf.register(cfg.CONF)
    objects.register_all()
    coordination.COORDINATOR.start()
    try:
        _measure_all(given.volume, given.rounds)
    finally:
        coordination.COORDINATOR.stop()


def _measure_all(volume: str, rounds: int) -> None:
    settings = conf.read(cfg.CONF[conf.GROUP], methods.installed())
    context = cinder_context.get_admin_context()
    targets = attachments.locate(
        context, objects.Volume.get_by_id(context, volume), settings)
    for _round in range(rounds):
        _measure(windows.Window(targets, settings, process.lock))


def _measure(opened: windows.Window) -> None:
    sys.stdin.readline()
    began = time.monotonic()
    opened.open()
    opening = time.monotonic() - began
    print('open', flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    opened.cover()
    proof = opened.close()
    closing = time.monotonic() - began
    print(json.dumps({
        'open_ms': round(1000 * opening), 'close_ms': round(1000 * closing),
        'messages': opened.round_trips,
        'proof': f'{proof.level.value} {proof.reason}'.strip()}), flush=True)


if __name__ == '__main__':
    main()
