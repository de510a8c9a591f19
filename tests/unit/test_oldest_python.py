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

"""What runs on Python 3.9 can be imported there; vermin sees the rest."""

import ast
from collections.abc import Iterator
import pathlib

from tests.support import bounded

ROOT = pathlib.Path(__file__).parents[2]
# What make releases runs there, and what that imports.
FOLDERS = ('cinder_wt_backup', 'tests/unit', 'tests/upstream',
           'tests/support/workload')


def annotations(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.AnnAssign, ast.arg)) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef) and node.returns:
            yield node.returns


def has_unions(tree: ast.AST) -> bool:
    """Whether an annotation is one of ``X | Y``, which 3.9 cannot do."""
    return any(isinstance(node, ast.BinOp) for annotation in annotations(tree)
               for node in ast.walk(annotation))


def postpones(tree: ast.AST) -> bool:
    """Whether annotations are not evaluated."""
    return any(isinstance(node, ast.ImportFrom)
               and node.module == '__future__' for node in ast.walk(tree))


class OldestPythonTest(bounded.TestCase):

    def test_unions_are_not_evaluated(self) -> None:
        modules = {path: ast.parse(path.read_text()) for folder in FOLDERS
                   for path in (ROOT / folder).rglob('*.py')}
        self.assertEqual([], [
            str(path.relative_to(ROOT)) for path, tree in modules.items()
            if has_unions(tree) and not postpones(tree)])
