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

"""Puts the parts together to the one text that a guest gets.

Each part stays as it is, within a string that is compiled when it is first
needed: a release that reaches the supervisor never compiles most of them.
Run by itself, this prints the program.
"""

import pathlib
import typing

HERE = pathlib.Path(__file__).parent
PACKAGE = 'cinder_wt_backup.guest.guardian.inside'
PARTS = ('protocol', 'syscalls', 'mounts', 'paths', 'options', 'identity',
         'flag', 'blocks', 'users', 'journal', 'drain', 'ways', 'work',
         'undo', 'pulse', 'journals', 'look', 'channel', 'worker', 'team',
         'apart', 'reports', 'listener', 'supervisor', 'window', 'behind',
         'client', 'main')
LOADER = '''\
import sys


class Part(object):
    """A part that is compiled at the first use of it."""

    def __init__(self, name, text):
        self.__dict__.update(__name__=name, __text__=text)

    def load(self):
        text = self.__dict__.pop('__text__', None)
        if text is not None:
            exec(compile(text, self.__name__, 'exec'), self.__dict__)

    def __getattr__(self, name):
        if '__text__' not in self.__dict__:
            raise AttributeError(name)
        self.load()
        return getattr(self, name)


PARTS = {}
'''


def program() -> bytes:
    """Return the program for a guest's interpreter."""
    licence = _split('protocol')[0]
    texts = [licence, LOADER]
    for name in PARTS:
        body = _link(_split(name)[1])
        if "\'\'\'" in body or '\\\n' in body:
            raise ValueError('%s cannot be within a string' % name)
        texts.append("PARTS['%s'] = Part('%s', r'''\n%s''')\n" % (
            name, name, body))
    texts.append("for part in PARTS.values():\n"
                 "    part.__dict__['PARTS'] = PARTS\n"
                 "PARTS['main'].main()\n")
    return '\n'.join(texts).encode('ascii')


def _split(name: str) -> typing.Tuple[str, str]:
    """Return a part's licence and the rest of it."""
    licence, _, body = (HERE / (name + '.py')).read_text().partition('\n\n')
    return licence + '\n', body


def _link(body: str) -> str:
    """Replace imports of other parts by what they are in one text."""
    start = 'from %s import ' % PACKAGE
    lines = []
    for line in body.splitlines():
        bare = line.strip()
        if bare.startswith(start):
            name = bare[len(start):]
            line = line.replace(bare, "%s = PARTS['%s']" % (name, name))
        lines.append(line)
    return '\n'.join(lines) + '\n'


def boot() -> str:
    """Return the shell's part, an argument of ``sh -c``."""
    return _shell('boot.sh')


def thaw() -> str:
    """Return what ends a freeze where there is no Python, likewise."""
    return _shell('thaw.sh')


def _shell(name: str) -> str:
    return (HERE / name).read_text().partition('\n\n')[2]


if __name__ == '__main__':
    print(program().decode('ascii'), end='')
