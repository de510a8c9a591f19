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

import ast
import json
import pathlib
import subprocess
import types

import ddt

from cinder_wt_backup.guest.guardian.inside import assemble
from cinder_wt_backup.guest.guardian.inside import identity
from cinder_wt_backup.guest.guardian.inside import main
from cinder_wt_backup.guest.guardian.inside import options
from cinder_wt_backup.guest.guardian.inside import protocol
from tests.support import bounded

CALL = {'version': 1, 'token': 'feedbeef', 'limit': 10}
START = {**CALL, 'volume': 'ab94d455-bcb6-4716-8c6a-948fdff8fc76',
         'address': '0000:00:05.0', 'lease': 60, 'drain': 5, 'freeze': 0,
         'barrier': 'unflagged', 'pulse': 'needed'}


@ddt.ddt
class AssembleTest(bounded.TestCase):

    def test_every_part_is_in_it(self) -> None:
        parts = {path.stem for path in assemble.HERE.glob('*.py')}
        self.assertEqual(parts - {'__init__', 'assemble'},
                         set(assemble.PARTS))

    def test_it_is_the_same_each_time_and_has_one_licence(self) -> None:
        text = assemble.program()
        self.assertEqual(text, assemble.program())
        self.assertEqual(1, text.count(b'Apache License, Version 2.0'))
        self.assertNotIn(b'cinder_wt_backup.guest.guardian', text)

    def test_every_part_is_python_3_6(self) -> None:
        for name in assemble.PARTS:
            text = (assemble.HERE / f'{name}.py').read_text()
            ast.parse(text, feature_version=(3, 6))

    def test_a_word_is_its_text_wherever_it_gets(self) -> None:
        for word in protocol.Undo:
            self.assertEqual(word.value, f'{word}')
            self.assertEqual(word.value, '%s' % word)
            self.assertEqual(word.value, json.loads(json.dumps(word)))
            self.assertEqual({word.value}, {word, word.value})
        # Python 3.6 and 3.7 keep a function, and replace str's own slot.
        self.assertIsInstance(vars(protocol.Word)['__str__'],
                              types.FunctionType)

    def test_only_the_standard_library_is_imported(self) -> None:
        allowed = {'binascii', 'contextlib', 'ctypes', 'enum', 'errno',
                   'fcntl', 'gc', 'json', 'os', 're', 'select', 'signal',
                   'socket', 'stat', 'struct', 'sys', 'time', 'traceback',
                   'typing'}
        for name in assemble.PARTS:
            tree = ast.parse((assemble.HERE / f'{name}.py').read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    self.assertLessEqual({each.name for each in node.names},
                                         allowed)

    def test_it_runs_and_refuses_what_it_does_not_know(self) -> None:
        ended = subprocess.run(
            ['/bin/sh', '-c', assemble.boot(), 'guardian', 'erase', '{}'],
            input=assemble.program(), stdout=subprocess.PIPE, check=False)
        self.assertEqual(protocol.Status.REFUSED, ended.returncode)
        self.assertEqual(protocol.Status.REFUSED,
                         json.loads(ended.stdout)['status'])

    def test_the_shell_has_30_lines_at_most(self) -> None:
        lines = (assemble.boot() + assemble.thaw()).splitlines()
        self.assertLessEqual(
            sum(not line.startswith('#') for line in lines), 30)

    @ddt.data(('start', protocol.Status.NO_PYTHON),
              ('release', protocol.Status.LAPSED))
    @ddt.unpack
    def test_without_python_it_is_flushed_only(
            self, command: str, status: protocol.Status) -> None:
        ended = subprocess.run(
            ['/bin/sh', '-c', assemble.boot().replace('python', 'nothing'),
             'guardian', command, '{}'], input=b'', check=False)
        self.assertEqual(status, ended.returncode)


@ddt.ddt
class RequestTest(bounded.TestCase):

    def test_whole_requests(self) -> None:
        for command, fields in (('start', START), ('release', CALL),
                                ('thawed', CALL)):
            request = main.request_of([command, json.dumps(fields)])
            self.assertEqual({**fields, 'command': command}, request)

    @ddt.data(*START)
    def test_every_field_hostile_once(self, name: str) -> None:
        for value in (None, '', [], {}, -1, 1.5, True, 'x' * 5000, '\n',
                      1 << 70, '../..', 'a b'):
            if (name, value) == ('address', ''):
                continue
            self.assertRaises(ValueError, main.request_of,
                              ['start', json.dumps({**START, name: value})])

    @ddt.data(*START)
    def test_every_field_missing_once(self, name: str) -> None:
        fields = {key: START[key] for key in START if key != name}
        self.assertRaises(ValueError, main.request_of,
                          ['start', json.dumps(fields)])

    @ddt.data('', '[]', '1', '{', 'null', '"a"')
    def test_no_request(self, text: str) -> None:
        self.assertRaises(ValueError, main.request_of, ['release', text])


class OptionsTest(bounded.TestCase):

    def test_what_is_said_again(self) -> None:
        self.assertEqual(['inode32', 'max_atomic_write=4k'],
                         options.said_again('xfs', [
                             'rw', 'inode32', 'max_atomic_write=4k']))
        self.assertEqual(['noacl'], options.said_again('btrfs', [
            'rw', 'noacl', 'compress=zstd:3']))
        self.assertEqual([], options.said_again('ext4', ['rw', 'noacl']))

    def test_what_changed(self) -> None:
        self.assertEqual(['-inode32', '+inode64'], options.changed(
            ['rw', 'inode32'], ['rw', 'sync', 'inode64']))
        self.assertEqual([], options.changed(['rw', 'a'], ['ro', 'a']))

    def test_barriers(self) -> None:
        for name in ('nobarrier', 'barrier=0', 'fsync_mode=nobarrier'):
            self.assertFalse(options.has_barrier(['rw', name]))
        self.assertTrue(options.has_barrier(['rw']))


class IdentityTest(bounded.TestCase):

    def test_a_superblock_lives_while_its_folder_is_the_same(self) -> None:
        folder = pathlib.Path(self.create_tempfiles([('a', '')])[0]).parent
        inode = folder.stat().st_ino
        self.assertTrue(identity.lives(f'{folder}#{inode}'))
        self.assertFalse(identity.lives(f'{folder}#{inode + 1}'))
        self.assertFalse(identity.lives(f'{folder}/none#{inode}'))
        self.assertIsNone(identity.lives('options#rw,fmask=0022'))
