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


"""python -m tests.matrix: what guests have on their volumes, and its level."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import pathlib
import re
import sys

from tests.cloud import cloud
from tests.cloud import console
from tests.cloud import image
from tests.functional import base
from tests.functional import live_machine
from tests.matrix import cases
from tests.matrix import run

INTRODUCTION = '''\
# What each kind of volume reaches

Written by `make matrix MATRIX="--report FILE"`: each row is a window on a real
guest (Debian's releases, and one that has little but busybox) behind a real
libvirt. The guest was as before after each of them, and where a level above
`flushed` is claimed and writers ran, all that they had been acknowledged was
in the copy. The times are of emulated guests (TCG) on two cores that did other
work as well: compare them with each other only. (A backup of an instance that
is shut off is exempt: it has no `wt:` keys at all.)
'''
Row = tuple[str, run.Result]
HEAD = ('guest', 'case', 'level', 'method', 'verified', 'window',
        'longest write(2)', 'reason')


def main() -> int:
    """Run what the command line asks for; 1 when a case went wrong."""
    options = _options()
    cloud.up(['libvirtd'])
    base.start_locks()
    results = list(_results(_chosen(options)))
    table = _table(results)
    print(table)
    if options.report:
        options.report.write_text(f'{INTRODUCTION}\n{table}\n')
    failed = [result for _, result in results if result.problem]
    console.say(f'{len(results)} cases, {len(failed)} wrong')
    return int(bool(failed))


def _chosen(options: argparse.Namespace) -> dict[str, list[cases.Case]]:
    """Return the cases of each guest that has some."""
    found = {guest: [case for case in all_cases
                     if re.search(options.case, case.name)]
             for guest, all_cases in cases.GUESTS.items()
             if options.guest in ('', guest)}
    return {guest: chosen for guest, chosen in found.items() if chosen}


def _results(chosen: dict[str, list[cases.Case]]) -> Iterator[Row]:
    for guest in chosen:
        image.IMAGES[guest].ensure()
    for guest, all_cases in chosen.items():
        console.say(f'booting a guest: {guest}')
        machine = live_machine.LiveMachine(
            image.IMAGES[guest], 'sata' if guest == 'generic' else 'ide')
        for case in all_cases:
            result = run.run(machine, case)
            console.say(f'{guest}: {case.name}: ' + (
                f'FAILED: {result.problem}' if result.problem
                else case.level))
            yield guest, result
        machine.remove()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.matrix',
        description='The level that each kind of volume reaches.')
    parser.add_argument('--case', default='', metavar='REGEX',
                        help='only cases whose names this is found in')
    parser.add_argument('--guest', default='', choices=list(cases.GUESTS),
                        help='only this guest')
    parser.add_argument('--report', type=pathlib.Path, metavar='FILE',
                        help='where the table goes besides')
    return parser.parse_args()


def _table(results: Sequence[Row]) -> str:
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in (
        HEAD, ('---',) * len(HEAD), *(_cells(*row) for row in results)))


def _cells(guest: str, result: run.Result) -> tuple[str, ...]:
    proof, name = result.proof, result.case.name
    if result.problem or proof is None:
        return guest, name, 'FAILED', '', '', '', '', result.problem
    stall = ('' if result.stall_ms is None
             else f'{result.stall_ms:.0f} ms')
    return (guest, name, proof.level.value, proof.method,
            result.verified, f'{proof.window_ms / 1000:.1f} s', stall,
            proof.reason)


if __name__ == '__main__':
    sys.exit(main())
