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

"""``make benchmark``: how long a window takes on a guest of the test cloud.

Boots a server in the test cloud and opens and closes windows on a volume of
its that is mounted there: with nothing dirty, while the load of the demo
writes, and with some hundred megabytes dirty. The windows of another checkout
of this project, if one is given, are measured in turn with ours.
"""

import argparse
import collections.abc
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.cloud import drivers
from tests.support.cloud import layout
from tests.support.machines import guests
from tests.support.stage import disk
from tests.support.stage import stage
from tests.support.workload import host

MEMORY_MIB = 1024
DIRTY_MIB = 300
KINDS = ('ext4', 'xfs')
# Seconds between two questions whether a program in the guest has ended, so
# that what is seen is the guest's own part; else as the package asks.
OFTEN = 0.02
# Prints the processes and their share of memory, in KiB.
_MEMORY = '''
import glob, os
for name in glob.glob('/proc/[0-9]*/smaps_rollup'):
    try:
        lines = open(name).read().splitlines()
    except OSError:
        continue
    pid = name.split('/')[2]
    if int(pid) != os.getpid():
        print(pid, *(line.split()[1] for line in lines
                     if line.startswith('Pss:')))
'''
# Prints how many milliseconds an interpreter takes to start and to end.
_INTERPRETER = '''
import subprocess, sys, time
for _round in range(int(sys.argv[1])):
    began = time.monotonic()
    subprocess.run(('python3', '-I', '-S', '-B', '-c', 'import ctypes, sys'))
    print(round(1000 * (time.monotonic() - began)))
'''


@dataclasses.dataclass(frozen=True)
class Round:
    """One window, and what stays in the guest while it is open."""

    open_ms: int
    close_ms: int
    messages: int
    proof: str
    processes: int
    memory_kib: int


class Comparison:
    """Windows of one or more checkouts on one volume of one guest."""

    def __init__(self, guest: guests.Guest, volume: str,
                 checkouts: list[pathlib.Path], rounds: int) -> None:
        self._guest = guest
        self._volume = volume
        self._checkouts = checkouts
        self._rounds = rounds

    def idle(self, kind: str) -> None:
        """With nothing dirty."""
        for checkout in self._checkouts:
            for poll in (None, OFTEN):
                rounds = list(self._windows(checkout, self._rounds, poll))
                _say(f'{kind}, idle, {_name(checkout, poll)}', rounds)

    def written_to(self, kind: str) -> None:
        """While the load writes, and with much dirty."""
        load = host.Workload(self._guest, disk.MOUNT)
        load.start()
        try:
            since = load.status().now_ns
            time.sleep(20)
            console.say(f'{kind}, written to, no window: '
                        f'{_longest(load, since)}')
            for checkout in self._checkouts:
                since = load.status().now_ns
                rounds = list(self._windows(checkout, self._rounds, None))
                _say(f'{kind}, written to, {_name(checkout)}', rounds,
                     _longest(load, since))
            for checkout in self._checkouts:
                load.fill(DIRTY_MIB)
                dirty = disk.dirty_mib(self._guest)
                _say(f'{kind}, {dirty} MiB dirty, {_name(checkout)}',
                     list(self._windows(checkout, 1, None)))
        finally:
            load.stop()

    def _windows(self, checkout: pathlib.Path, rounds: int,
                 poll: float | None) -> collections.abc.Iterator[Round]:
        options = layout.ETC / 'cinder' / 'benchmark.conf'
        options.write_text('[write_through]\n' + ''.join(
            f'{name} = {value}\n' for name, value
            in drivers.plugin('posix')['write_through'].items()))
        # -P: not the package beside this program, but that of the checkout.
        command = [layout.VENV / 'bin' / 'python', '-P',
                   pathlib.Path(__file__).with_name('windows.py'),
                   self._volume, layout.CINDER_CONF, options,
                   f'--rounds={rounds}']
        with subprocess.Popen(
                command + [f'--poll={poll}'] * bool(poll),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=os.environ | {'PYTHONWARNINGS': 'ignore',
                                  'PYTHONPATH': str(checkout)}) as program:
            for _round in range(rounds):
                before = self._memory()
                _ask(program)
                meanwhile = self._memory()
                stay = meanwhile.keys() - before.keys()
                yield Round(processes=len(stay),
                            memory_kib=sum(meanwhile[pid] for pid in stay),
                            **json.loads(_ask(program)))

    def _memory(self) -> dict[str, int]:
        lines = self._guest.run('python3', '-c', _MEMORY).text.splitlines()
        return {pid: int(size) for pid, size in map(str.split, lines)}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog='make benchmark BENCHMARK=...',
                                     description=__doc__)
    parser.add_argument('--rounds', type=int, default=5, metavar='N',
                        help='windows each (default: 5)')
    parser.add_argument('--beside', type=pathlib.Path, metavar='DIR',
                        help='another checkout, to be measured in turn')
    given = parser.parse_args()
    checkouts = [path.resolve() for path in (
        given.beside, pathlib.Path.cwd()) if path]
    cloud.up()
    with (cloud.connect() as connection,
          stage.Stage(connection, keep=False) as scene):
        console.say('booting a server')
        guest = scene.boot(MEMORY_MIB)
        disk.keep_dirty_pages(guest)
        volume = scene.volume(1)
        device = scene.attach(volume)
        scene.callback(scene.detach, volume)
        taken = guest.run('python3', '-c', _INTERPRETER, str(given.rounds))
        console.say('an interpreter starts and ends: '
                    f'{_middle(map(int, taken.text.split()))} ms')
        comparison = Comparison(guest, volume, checkouts, given.rounds)
        for kind in KINDS:
            disk.make_filesystem(guest, device, kind)
            with disk.mounted(guest, device):
                comparison.idle(kind)
                comparison.written_to(kind)
    return 0


def _ask(program: subprocess.Popen[str]) -> str:
    assert program.stdin and program.stdout
    program.stdin.write('\n')
    program.stdin.flush()
    answer = program.stdout.readline()
    if not answer:
        raise console.CloudError('the windows ended with status '
                                 f'{program.wait()}')
    return answer


def _name(checkout: pathlib.Path, poll: float | None = None) -> str:
    return checkout.name + (f', asked every {poll} s' if poll else '')


def _longest(load: host.Workload, since_ns: int) -> str:
    return f'longest write(2) {load.status(since_ns).longest_since_ms:.0f} ms'


def _say(what: str, rounds: list[Round], more: str = '') -> None:
    figures = [f'{name} {_middle(getattr(each, name) for each in rounds)}'
               for name in ('open_ms', 'close_ms', 'messages', 'processes',
                            'memory_kib')]
    console.say('; '.join((f'{what}: ' + ', '.join(figures), *filter(None, (
        more, *sorted({each.proof for each in rounds}))))))


def _middle(values: collections.abc.Iterable[int]) -> str:
    """Return the median, and between which they are."""
    numbers = sorted(values)
    return (f'{statistics.median(numbers):.0f} '
            f'({numbers[0]} to {numbers[-1]})')


if __name__ == '__main__':
    sys.exit(main())
