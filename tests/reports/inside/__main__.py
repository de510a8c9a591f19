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

"""``make inside``: one call of the program in the guest goes wrong, each once.

Whole windows on a loop device of this machine. Every call of the system that
the program makes, with the functions that lead there, is a place; there it
fails, hangs, its process is killed, or all of the window's. Afterwards the
claim was true and the file system is as it was. Results are kept, so that a
run can be made in parts; a table is written from them.
"""

import argparse
import collections
from collections.abc import Callable
import pathlib
import re
import signal
import sys
import time

from cinder_wt_backup.guest.guardian import client as guardian
from tests.support.loop import trial
from tests.support import results

KEPT = pathlib.Path('doc/inside.json')
TABLE = pathlib.Path('doc/inside.txt')
WRONG = 'WRONG'
# That with the longer name first: "killed" is at the end of another.
FAULTS = sorted(trial.Fault, key=lambda fault: -len(fault.value))
INTRODUCTION = '''\
Written by `make inside`: how often each fault, in each call of the program in
the guest, ended how; %d windows with this version of the program, of %d.
What the backup would have claimed comes first, then how the file system was
put back. A place that was not reached again is one that comes by chance.

'''
TIMES = r' by \d+ more releases in [\d.]+ s'


def main() -> int:
    """Make what is not made yet; return whether something is wrong."""
    given = _options()
    version = results.version(
        guardian.PROGRAM, guardian.BOOT, trial.FAULTS_TEXT,
        pathlib.Path(trial.__file__).read_text())
    kept = results.Results(KEPT)
    every = {f'{place} {fault.value}': (place, fault)
             for place in trial.places() for fault in trial.Fault}
    kept.keep(every)
    is_time = _until(given.minutes)
    for number, (name, case) in enumerate(every.items(), 1):
        if is_time():
            print('not finished: run it again')
            break
        known = kept.has(name, version) and not _is_wrong(kept.rows[name][1])
        if (given.place in name and given.fault in (None, case[1].value)
                and (given.again or not known)):
            kept.add(name, version, _tried(*case))
            print(f'{number} of {len(every)}: {name}: '
                  + ': '.join(kept.rows[name][1]), flush=True)
    _write_table(kept, version)
    return any(_is_wrong(row) for _version, row in kept.rows.values())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='make inside INSIDE=...',
                                     description=__doc__)
    parser.add_argument('--minutes', type=float, default=1e9, metavar='N',
                        help='stop after that long; the next run goes on')
    parser.add_argument('--fault', choices=[f.value for f in trial.Fault],
                        help='only this one')
    parser.add_argument('--place', default='', metavar='TEXT',
                        help='only places that have this in them')
    parser.add_argument('--again', action='store_true',
                        help='also what has a result')
    return parser.parse_args()


def _until(minutes: float) -> Callable[[], bool]:
    """Return what says that time is over, or that somebody told us to end.

    Between two windows, so that none is left behind.
    """
    end = time.monotonic() + 60 * minutes
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda which, _frame: told.append(which))
    return lambda: bool(told) or time.monotonic() > end


def _is_wrong(row: results.Row) -> bool:
    return row[0] == WRONG


def _tried(place: trial.Place, fault: trial.Fault) -> results.Row:
    one = trial.attempt(place, fault)
    if one.wrong:
        return [WRONG, one.wrong]
    return ['ok' if one.reached else 'not reached', one.outcome]


def _write_table(kept: results.Results, version: str) -> None:
    """Write how often each fault ended how; times vary and are left out."""
    outcomes: collections.Counter[str] = collections.Counter()
    for case, (found_with, row) in kept.rows.items():
        if found_with == version:
            fault = next(each.value for each in FAULTS
                         if case.endswith(f' {each.value}'))
            outcomes[f'{fault:11} ' + re.sub(TIMES, '', ': '.join(row))] += 1
    TABLE.write_text(INTRODUCTION % (sum(outcomes.values()), len(kept.rows))
                     + ''.join(f'{number:5}  {what}\n' for what, number
                               in sorted(outcomes.items())))


if __name__ == '__main__':
    sys.exit(main())
