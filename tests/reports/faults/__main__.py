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


"""python -m tests.reports.faults: each fault at each step, then at random."""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import functools
import pathlib
import random
import re
import signal
import sys
import time

from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.faults import faults
from tests.support.faults import run
from tests.support.faults import scene as scenes
from tests.support.faults import steps
from tests.support import results
from tests.support.stage import stage

KEPT = pathlib.Path('doc/faults.json')
TABLE = pathlib.Path('doc/faults.txt')
PASSED = 'passed'
RANDOM = 200
# What a result depends on besides the package.
CASES = ('faults', 'run', 'scene', 'steps')


def main() -> int:
    """Run what has no result yet; 1 when anything was left in a guest."""
    options = _options()
    # Even so what was made is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated'))
    version = results.version(results.package_version(), *(
        pathlib.Path(faults.__file__).with_name(f'{name}.py').read_text()
        for name in CASES))
    kept = results.Results(KEPT)
    kept.keep([*_at_steps(), *(_random_name(number)
                               for number in range(RANDOM))])
    cloud.up()
    with cloud.connect() as connection, stage.Stage(connection,
                                                    keep=False) as made:
        wrong = _run(scenes.Scene(made), options, kept, version)
    print(_table(kept, version))
    return int(wrong)


def _run(scene: scenes.Scene, options: argparse.Namespace,
         kept: results.Results, version: str) -> bool:
    """Run them, one after the other; whether something was wrong."""
    end = time.monotonic() + 60 * options.minutes
    wrong, configured = False, None
    for name, barrier, strike in _cases(scene, options):
        if time.monotonic() > end:
            console.say('not finished: run it again')
            break
        if not options.again and kept.has(name, version) and (
                kept.rows[name][1][5] == PASSED):
            continue
        if barrier != configured:
            scene.configure(barrier)
            configured = barrier
        result = strike()
        wrong |= bool(result.problem)
        kept.add(name, version, _row(result))
        console.say(_line(kept.rows[name][1]))
        TABLE.write_text(_table(kept, version))
    return wrong


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.reports.faults', description='What a backup '
        'leaves behind in a guest, whatever happens. Faults that have a '
        'result of this version are not repeated.')
    parser.add_argument('--fault', default='', metavar='REGEX',
                        help='only faults whose names this is found in')
    parser.add_argument('--step', default='', metavar='REGEX',
                        help='only at steps whose names this is found in')
    parser.add_argument('--no-steps', action='store_true',
                        help='only random faults')
    parser.add_argument('--random', type=int, default=RANDOM, metavar='N',
                        help=f'at so many random moments ({RANDOM})')
    parser.add_argument('--minutes', type=float, default=1e9, metavar='N',
                        help='stop after that long; the next run goes on')
    parser.add_argument('--again', action='store_true',
                        help='also those that have a result')
    parser.add_argument('--verify', action='store_true', help='restore and '
                        'compare each backup that claims write-through')
    return parser.parse_args()


def _at_steps() -> dict[str, tuple[faults.Fault, str]]:
    """Return each fault at each step, by name; those with a barrier last."""
    found = [(fault, step) for fault in faults.FAULTS
             for step in (*fault.steps, *fault.frozen)]
    return {f'{fault.name}, {step}': (fault, step)
            for fault, step in sorted(found, key=_with_barrier)}


def _random_name(number: int) -> str:
    return f'at random {number}'


def _cases(scene: scenes.Scene, options: argparse.Namespace
           ) -> Iterator[tuple[str, bool, Callable[[], run.Result]]]:
    """Yield the name, whether it has a barrier, and what to do."""
    for name, struck in _at_steps().items():
        fault, step = struck
        if not options.no_steps and (re.search(options.fault, fault.name)
                                     and re.search(options.step, step)):
            yield name, _with_barrier(struck), functools.partial(
                run.at_step, scene, fault, step, options.verify)
    for number in range(options.random):
        name = _random_name(number)
        # The same each time it is repeated.
        yield name, False, functools.partial(
            run.at_random, scene, random.Random(name))


def _with_barrier(struck: tuple[faults.Fault, str]) -> bool:
    return struck[1] == steps.FROZEN


def _row(result: run.Result) -> results.Row:
    outcome = result.outcome
    return [result.fault, result.step, f'{result.changed:.1f}',
            f'{result.seconds:.1f}',
            f'{outcome.status} {outcome.level}' if outcome else '',
            f'FAILED: {result.problem}' if result.problem else PASSED,
            outcome.text[:90] if outcome else '']


def _line(row: results.Row) -> str:
    fault, step, changed, seconds, became, verdict, text = row
    return (f'{fault:32} {step:10} {changed:>5} s {seconds:>7} s  '
            f'{became:24} {verdict:8} {text}').rstrip()


def _table(kept: results.Results, version: str) -> str:
    """Return all rows; what was found with another version is said."""
    rows = list(kept.rows.values())
    failed = sum(row[5] != PASSED for _version, row in rows)
    others = sum(found_with != version for found_with, _row in rows)
    longest = max((float(row[2]) for _version, row in rows), default=0.0)
    head = (f'{"fault":32} {"step":10} {"changed":>7} {"as before":>9}  '
            f'{"backup":24} {"verdict":8} reason')
    return '\n'.join([head, *(_line(row) for _version, row in rows), '',
                      f'{len(rows)} runs, {failed} with something wrong; '
                      f'no guest was changed for longer than {longest:.1f} s',
                      f'with this version, {version}: {len(rows) - others}; '
                      f'with earlier ones: {others}', ''])


if __name__ == '__main__':
    sys.exit(main())
