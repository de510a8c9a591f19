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

import subprocess
import sys

import ddt

from cinder_wt_backup import guardian
from cinder_wt_backup.guardian import program
from tests.unit import base

PROGRAM = program.assembled().decode()
INTERPRETERS = {'flag.pl': '/usr/bin/perl', 'flag.py': sys.executable}


@ddt.ddt
class ProgramTest(base.TestCase):

    def test_it_is_what_guests_get(self) -> None:
        self.assertEqual(program.assembled(), guardian.PROGRAM)

    def test_it_is_one_program_of_a_shell(self) -> None:
        self.assertTrue(PROGRAM.startswith('#!/bin/sh\n'))
        self.assertEqual(1, PROGRAM.count('Apache License'))
        subprocess.run(['sh', '-n'], input=PROGRAM, text=True, check=True)

    def test_no_part_is_forgotten(self) -> None:
        self.assertEqual(
            {path.name for path in program.PARTS.glob('[!_]*.*')},
            {*program.SHELL, *program.VALUES.values()})

    def test_it_prints_itself(self) -> None:
        printed = subprocess.run([sys.executable, program.__file__],
                                 stdout=subprocess.PIPE, check=True)
        self.assertEqual(program.assembled(), printed.stdout)

    @ddt.data(*program.VALUES.items())
    @ddt.unpack
    def test_a_shell_hands_the_other_languages_on_as_they_are(
            self, name: str, part: str) -> None:
        values = PROGRAM[PROGRAM.index('\nflag_perl='):
                         PROGRAM.index('# What is on the volume')]
        handed = subprocess.run(
            ['sh', '-c', f'{values}\nprintf %s "${name}"'], check=True,
            stdout=subprocess.PIPE, text=True)
        self.assertEqual((program.PARTS / part).read_text().split(
            '\n\n', 1)[1], handed.stdout)

    @ddt.data(*((part, *named) for part in INTERPRETERS for named in (
        ('999999', '/'), ('1', '/no/such/folder'), ('x', '/proc/1/root/no'))))
    @ddt.unpack
    def test_what_is_not_the_mount_that_was_named_is_left_alone(
            self, part: str, mount: str, path: str) -> None:
        ended = subprocess.run(
            [INTERPRETERS[part], str(program.PARTS / part), 'sync', mount,
             path], stderr=subprocess.PIPE, text=True, check=False)
        # Nothing there: it did not end by an error of its own.
        self.assertEqual((1, ''), (ended.returncode, ended.stderr))
