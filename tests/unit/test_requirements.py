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

"""What the package requires is what it imports."""

import ast
from collections.abc import Iterator
import configparser
import pathlib
import re
import sys

from tests.support import bounded

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / 'cinder_wt_backup'
# Where a distribution is not called as its module is.
DISTRIBUTIONS = {'libvirt': 'libvirt-python', 'libvirt_qemu': 'libvirt-python',
                 'os_brick': 'os-brick'}
# What is there already, or is chosen with an extra.
EXTRAS = {'cinder', 'libvirt-python'}
# Of Python itself; sys.stdlib_module_names came with 3.10.
OWN = getattr(sys, 'stdlib_module_names', None)


def imported() -> set[str]:
    """Return the distributions that the package's modules are of."""
    modules = {name.partition('.')[0] for path in PACKAGE.rglob('*.py')
               for name in _names(ast.parse(path.read_text()))}
    return {DISTRIBUTIONS.get(module, module.replace('oslo_', 'oslo.'))
            for module in modules - set(OWN or ()) - {PACKAGE.name}}


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ''


def floors(text: str) -> dict[str, str]:
    """Return the lowest version of each distribution."""
    return dict(re.findall(r'^([A-Za-z][\w.-]*)>=([\d.]+)', text,
                           re.MULTILINE))


class RequirementsTest(bounded.TestCase):

    def setUp(self) -> None:
        super().setUp()
        if OWN is None:
            self.skipTest('this Python does not say what is its own')
        config = configparser.ConfigParser()
        config.read(ROOT / 'setup.cfg')
        self.required = floors((ROOT / 'requirements.txt').read_text())
        self.extras = floors('\n'.join(config['extras'].values()))
        self.tests = floors((ROOT / 'test-requirements.txt').read_text())

    def test_what_is_imported_is_required(self) -> None:
        self.assertEqual(imported() - EXTRAS, set(self.required))

    def test_what_the_extras_bring_is_imported_too(self) -> None:
        self.assertEqual(EXTRAS, set(self.extras))
        self.assertLessEqual(EXTRAS, imported())

    def test_the_tests_need_the_extras(self) -> None:
        self.assertEqual(self.extras, {
            name: self.tests.get(name) for name in EXTRAS})
