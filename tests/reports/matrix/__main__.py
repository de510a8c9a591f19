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


"""python -m tests.reports.matrix: what is on volumes, and its level."""

import argparse
import pathlib
import re
import sys
import time

from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.cloud import image
from tests.support.machines import live_machine
from tests.support.machines import plugin
from tests.support.matrix import cases
from tests.support.matrix import run
from tests.support import results

INTRODUCTION = '''\
# What each kind of volume reaches

Written by `make matrix`: each row is a window on a real guest (Debian's
releases, and one that has little but busybox) behind a real libvirt. The guest
was as before after each of them, and where a level above `flushed` is claimed
and writers ran, all that they had been acknowledged was in the copy. The times
are of emulated guests (TCG) on two cores that did other work as well: compare
them with each other only. (A backup of an instance that is shut off is exempt:
it has no `wt:` keys at all.) The version is that of the package and of the
case with which a row was found.
'''
HEAD = ('guest', 'case', 'level', 'method', 'verified', 'window',
        'longest write(2)', 'reason', 'version')
KEPT = pathlib.Path('doc/levels.json')
TABLE = pathlib.Path('doc/levels.md')
FAILED = 'FAILED'


def main() -> int:
    """Run what has no result yet; 1 when a case went wrong."""
    options = _options()
    cloud.up(['libvirtd'])
    plugin.start_locks()
    kept = results.Results(KEPT)
    kept.keep(f'{guest}: {case.name}' for guest, all_cases
              in cases.GUESTS.items() for case in all_cases)
    try:
        _run(_chosen(options, kept), kept,
             time.monotonic() + 60 * options.minutes)
    finally:
        TABLE.write_text(f'{INTRODUCTION}\n{_table(kept)}\n')
    failed = [case for case, (_version, row) in kept.rows.items()
              if row[2] == FAILED]
    console.say(f'{len(kept.rows)} cases, wrong: {failed}')
    return int(bool(failed))


def _version(case: cases.Case) -> str:
    return results.version(results.package_version(), case)


def _chosen(options: argparse.Namespace, kept: results.Results
            ) -> dict[str, list[cases.Case]]:
    """Return the cases of each guest that has some to be run."""
    found = {guest: [case for case in all_cases
                     if re.search(options.case, case.name)
                     and (options.again or not _is_known(
                         f'{guest}: {case.name}', case, kept))]
             for guest, all_cases in cases.GUESTS.items()
             if options.guest in ('', guest)}
    return {guest: chosen for guest, chosen in found.items() if chosen}


def _is_known(name: str, case: cases.Case, kept: results.Results) -> bool:
    return (kept.has(name, _version(case))
            and kept.rows[name][1][2] != FAILED)


def _run(chosen: dict[str, list[cases.Case]], kept: results.Results,
         end: float) -> None:
    for guest in chosen:
        image.IMAGES[guest].ensure()
    for guest, all_cases in chosen.items():
        console.say(f'booting a guest: {guest}')
        machine = live_machine.LiveMachine(
            image.IMAGES[guest], 'sata' if guest == 'generic' else 'ide')
        for case in all_cases:
            if time.monotonic() > end:
                console.say('not finished: run it again')
                machine.remove()
                return
            result = run.run(machine, case)
            console.say(f'{guest}: {case.name}: ' + (
                f'{FAILED}: {result.problem}' if result.problem
                else case.level))
            kept.add(f'{guest}: {case.name}', _version(case),
                     _cells(guest, result))
        machine.remove()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.reports.matrix',
        description='The level that each kind of volume reaches. Cases that '
                    'have a result of this version are not run again.')
    parser.add_argument('--case', default='', metavar='REGEX',
                        help='only cases whose names this is found in')
    parser.add_argument('--guest', default='', choices=list(cases.GUESTS),
                        help='only this guest')
    parser.add_argument('--minutes', type=float, default=1e9, metavar='N',
                        help='stop after that long; the next run goes on')
    parser.add_argument('--again', action='store_true',
                        help='also those that have a result')
    return parser.parse_args()


def _table(kept: results.Results) -> str:
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in (
        HEAD, ('---',) * len(HEAD),
        *((*row, version) for version, row in kept.rows.values())))


def _cells(guest: str, result: run.Result) -> results.Row:
    proof, name = result.proof, result.case.name
    if result.problem or proof is None:
        return [guest, name, FAILED, '', '', '', '', result.problem]
    stall = ('' if result.stall_ms is None
             else f'{result.stall_ms:.0f} ms')
    return [guest, name, proof.level.value, proof.method,
            result.verified, f'{proof.window_ms / 1000:.1f} s', stall,
            proof.reason]


if __name__ == '__main__':
    sys.exit(main())
