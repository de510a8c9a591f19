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

"""python -m tests.reports.releases: the Cinder releases that we work with."""

import argparse
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import pathlib
import re
import sys

from tests.reports.releases import beside
from tests.reports.releases import run
from tests.support.cloud import console
from tests.support.cloud import environment

INTRODUCTION = '''\
# Cinder releases

Written by `make releases RELEASES="--report FILE"`: our unit tests, and the
backup tests that Cinder ships (the manager, its messages, the chunked driver,
each stock driver, the drivers' compliance) with the plugin as their backup
driver, around Cinder's fake one. Each release is in an environment of its
own, with the packages of its time, on Python 3.11; the oldest and the newest
are on Debian 11's and 13's Python and bindings of libvirt as well, and the
Cinder of Debian 12's own packages (Zed) is among them, with nothing of PyPI.
Skipped are tests of what a release or mode does not have. Not run are the few
of Cinder's tests in `tests/upstream/excluded.txt`, which says why. This is no
cloud: what is beyond cinder-backup is imitated.

What pip would move is counted in packages: those that Cinder alone gets, and
that stay as they are beside us.
'''
HEAD = ('release', 'what', 'passed', 'failed', 'skipped', 'time', '')
RELEASES = environment.RELEASES + environment.ON_DEBIAN
SUITES = (*run.SUITES, beside.SUITE)
Table = Iterable[Sequence[str]]


def main() -> int:
    """Run what the command line asks for; 1 when a test failed."""
    options = _options()
    results = list(_results(options))
    report = '\n\n'.join(map(_table, (
        (HEAD, *map(_cells, results)), _packages(results))))
    print(f'\n{report}\n')
    if options.report:
        options.report.write_text(f'{INTRODUCTION}\n{report}\n')
    ran = [result for result in results if result.counts]
    failed = [result for result in ran if result.failed]
    console.say(f'{len(ran)} suites run, {len(failed)} failed')
    return int(bool(failed) or not ran)


def _results(options: argparse.Namespace) -> Iterator[run.Result]:
    for release in RELEASES:
        if not re.search(options.release, release.name):
            continue
        environment.make(release)
        for suite in SUITES:
            if re.search(options.suite, suite.name):
                console.say(f'{release.name}: {suite.title} ...')
                result = (beside.look(release) if suite == beside.SUITE
                          else run.run(release, suite))
                console.say(f'{release.name}: {" ".join(_cells(result)[2:])}')
                yield result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.reports.releases',
        description='Our tests and Cinder\'s own in several releases of it.')
    parser.add_argument('--release', default='', metavar='REGEX',
                        help='only releases whose names this is found in: ' +
                        ', '.join(each.name for each in RELEASES))
    parser.add_argument('--suite', default='', metavar='REGEX',
                        help='only suites whose names this is found in: ' +
                        ', '.join(each.name for each in SUITES))
    parser.add_argument('--report', type=pathlib.Path, metavar='FILE',
                        help='where the tables go besides')
    return parser.parse_args()


def _cells(result: run.Result) -> Sequence[str]:
    what = result.release.name, result.suite.title
    if result.counts is None:
        return *what, 'n/a', '', '', '', result.problem
    return (*what, *map(str, result.counts), f'{result.seconds:.0f} s',
            f'FAILED: {result.problem}' if result.failed else '')


def _packages(results: Iterable[run.Result]) -> Table:
    yield 'release', 'Cinder', 'Python', *environment.SHOWN
    for release in dict.fromkeys(result.release for result in results):
        yield release.name, release.cinder, *release.versions()


def _table(rows: Table) -> str:
    head, *rest = rows
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in (
        head, ('---',) * len(head), *rest))


if __name__ == '__main__':
    sys.exit(main())
