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


"""How long a guest is changed, by its own clock."""

import itertools

from tests.support.machines import guests

_FOLDER = '/run/wt-watch'
# A line for each change: the clock, and whether the guest is changed then.
_PROGRAM = '''
import glob, sys, time

def changed():
    with open('/proc/self/mountinfo') as table:
        for line in table:
            if line.split()[4] == point and 'sync' in (
                    line.split()[-1].split(',')):
                return True
    return read() != settings

def read():
    return [open(name).read() for name in
            sorted(glob.glob('/proc/sys/vm/dirty*'))]

point, path = sys.argv[1:]
settings = read()
known = False
while True:
    if changed() != known:
        known = not known
        with open(path, 'a') as log:
            log.write(f'{time.monotonic()} {int(known)}\\n')
    time.sleep(0.1)
'''


class Watch:
    """A program in a guest that looks ten times a second.

    What it calls changed: the file system is synchronous, or one of the
    limits of dirty memory differs. The clock stands while the guest does.
    """

    def __init__(self, guest: guests.Guest, point: str) -> None:
        self._guest = guest
        self._path = f'{_FOLDER}/changes'
        self._known = 0
        guest.run('sh', '-c', f'mkdir -p {_FOLDER}; : >{self._path}')
        guest.spawn('systemd-run', '--quiet', '--scope', 'python3', '-c',
                    _PROGRAM, point, self._path)

    def longest(self) -> float:
        """Return for how long it was changed since this was last asked.

        The longest time without a break, in seconds; 0 if it was not.
        """
        lines = self._guest.read(self._path).decode().splitlines()
        new = [line.split() for line in lines[self._known:]]
        self._known = len(lines)
        return max((float(end[0]) - float(begin[0])
                    for begin, end in itertools.pairwise(new)
                    if begin[1] == '1'), default=0.0)
