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

"""The program that runs in guests, made of its parts in ``in_guest``.

Run by itself, this prints it: for who wants to read it as guests get it.
"""

import pathlib
import shlex

PARTS = pathlib.Path(__file__).parent / 'in_guest'
SHELL = ('head.sh', 'volume.sh', 'flag.sh', 'drain.sh', 'window.sh',
         'commands.sh')
# Handed to their interpreters by flag.sh, as the values of these variables.
VALUES = {'flag_perl': 'flag.pl', 'flag_python': 'flag.py'}


def assembled() -> bytes:
    """Return the program, with one licence on top."""
    first, *others = SHELL
    values = [f'{name}={shlex.quote(_body(part))}\n'
              for name, part in VALUES.items()]
    return '\n'.join([(PARTS / first).read_text(), *values,
                      *map(_body, others)]).encode()


def _body(part: str) -> str:
    licence, body = (PARTS / part).read_text().split('\n\n', 1)
    return body


if __name__ == '__main__':
    print(assembled().decode(), end='')
