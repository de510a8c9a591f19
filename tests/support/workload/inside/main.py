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

"""The command line in the guest: one archive, a command for each part.

The writers run until they are ended. What was acknowledged to them goes to
``--state``, a directory outside the volume (``/run`` is tmpfs), where
``status`` finds it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import time

from tests.support.workload.inside import acks
from tests.support.workload.inside import checker
from tests.support.workload.inside import database
from tests.support.workload.inside import writers


def _records(args: argparse.Namespace) -> None:
    writers.write_records(args.directory, acks.Log(args.state / 'records'),
                          args.run, args.files, writers.paced(args.rate))


def _rows(args: argparse.Namespace) -> None:
    writers.write_rows(args.directory, acks.Log(args.state / 'rows'),
                       args.run, args.state / 'records',
                       writers.paced(args.rate))


def _bulk(args: argparse.Namespace) -> None:
    writers.write_bulk(args.directory, args.mebibytes)


def _status(args: argparse.Namespace) -> None:
    log = args.state / 'records'
    print(json.dumps({
        'records': acks.count(log),
        'rows': acks.count(args.state / 'rows'),
        'now_ns': time.monotonic_ns(),
        'longest_ms': acks.longest_ms(log),
        'longest_since_ms': acks.longest_ms(log, args.since_ns)}))


def _check(args: argparse.Namespace) -> None:
    promise = checker.Promise(args.run, args.files, args.records, args.rows)
    records = checker.check(args.directory, promise)
    rows = database.check(args.directory, args.run, args.rows,
                          records.unbroken)
    print(json.dumps({'records': dataclasses.asdict(records),
                      'rows': dataclasses.asdict(rows)}))


_OPTIONS = {'directory': pathlib.Path, 'state': pathlib.Path, 'run': str,
            'rate': float, 'files': int, 'mebibytes': int, 'since-ns': int,
            'records': int, 'rows': int}
_COMMANDS = {'records': (_records, 'directory state run files rate'),
             'rows': (_rows, 'directory state run rate'),
             'bulk': (_bulk, 'directory mebibytes'),
             'status': (_status, 'state since-ns'),
             'check': (_check, 'directory run files records rows')}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='workload', description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, (function, options) in _COMMANDS.items():
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        for option in options.split():
            command.add_argument(f'--{option}', type=_OPTIONS[option],
                                 required=True)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Run one command; ``argv`` is ``sys.argv[1:]`` when not given."""
    args = _parser().parse_args(argv)
    args.function(args)
