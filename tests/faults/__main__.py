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


"""python -m tests.faults: every fault at every step, then at random."""

import argparse
from collections.abc import Iterator
import itertools
import pathlib
import random
import re
import signal
import sys
import time

from tests.cloud import cloud
from tests.cloud import console
from tests.cloud import layout
from tests.demo import stage
from tests.faults import faults
from tests.faults import run
from tests.faults import scene as scenes
from tests.faults import steps

REPORT = layout.CLOUD / 'faults.txt'


def main() -> int:
    """Run what the command line asks for; 1 when anything was left."""
    options = _options()
    # Even so what was made is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated'))
    cloud.up()
    chance = random.Random(options.seed)
    console.say(f'random faults are those of --seed {options.seed}')
    results = []
    with cloud.connect() as connection, stage.Stage(connection,
                                                    keep=False) as made:
        scene = scenes.Scene(made)
        for number, result in enumerate(_results(scene, options, chance), 1):
            results.append(result)
            console.say(f'{number:4}  {_line(result)}')
            options.report.write_text(_table(results))
    print(_table(results))
    return int(any(result.problem for result in results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.faults', description='What a backup leaves '
        'behind in a guest, whatever happens.')
    parser.add_argument('--fault', default='', metavar='REGEX',
                        help='only faults whose names this is found in')
    parser.add_argument('--step', default='', metavar='REGEX',
                        help='only at steps whose names this is found in')
    parser.add_argument('--no-steps', action='store_true',
                        help='only random faults')
    parser.add_argument('--random', type=int, default=200, metavar='N',
                        help='this many random faults (200)')
    parser.add_argument('--verify', action='store_true', help='restore and '
                        'compare each backup that claims write-through')
    parser.add_argument('--seed', type=int, default=int(time.time()),
                        help='repeat the random faults of a former run')
    parser.add_argument('--report', type=pathlib.Path, default=REPORT,
                        help=f'where the table goes ({REPORT})')
    return parser.parse_args()


def _results(scene: scenes.Scene, options: argparse.Namespace,
             chance: random.Random) -> Iterator[run.Result]:
    if not options.no_steps:
        chosen = [(fault, step) for fault in faults.FAULTS
                  for step in (*fault.steps, *fault.frozen)
                  if re.search(options.fault, fault.name)
                  and re.search(options.step, step)]
        for barrier, group in itertools.groupby(
                sorted(chosen, key=_with_barrier), _with_barrier):
            scene.configure(barrier)
            for fault, step in group:
                yield run.at_step(scene, fault, step, options.verify)
        scene.configure(barrier=False)
    for _number in range(options.random):
        yield run.at_random(scene, chance)


def _with_barrier(struck: tuple[faults.Fault, str]) -> bool:
    return struck[1] == steps.FROZEN


def _line(result: run.Result) -> str:
    outcome = result.outcome
    became = f'{outcome.status} {outcome.level}' if outcome else ''
    text = outcome.text if outcome else ''
    verdict = f'FAILED: {result.problem}' if result.problem else 'passed'
    return (f'{result.fault:32} {result.step:10} {result.changed:5.1f} s '
            f'{result.seconds:7.1f} s  '
            f'{became:24} {verdict:8} {text[:90]}').rstrip()


def _table(results: list[run.Result]) -> str:
    failed = sum(bool(result.problem) for result in results)
    longest = max((result.changed for result in results), default=0.0)
    head = (f'{"fault":32} {"step":10} {"changed":>7} {"as before":>9}  '
            f'{"backup":24} {"verdict":8} reason')
    return '\n'.join([head, *map(_line, results), '',
                      f'{len(results)} runs, {failed} with something wrong; '
                      f'no guest was changed for longer than {longest:.1f} s',
                      ''])


if __name__ == '__main__':
    sys.exit(main())
