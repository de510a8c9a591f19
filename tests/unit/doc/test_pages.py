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

"""What the documentation says of the tree is so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import pathlib
import re

from tests.support import bounded

ROOT = pathlib.Path(__file__).parents[3]
PAGES = ROOT / 'doc/source'
README_LINES = 120
# FILE::CLASS or FILE::CLASS.METHOD, as a literal.
NAMED = re.compile(r'``(tests/[a-z0-9_/]+\.py)::(\w+)(?:\.(\w+))?``')
LINK = re.compile(r'\]\((?!https?://|#)([^)#]+)')
PICTURE = re.compile(r'^\.\. image:: (\S+)', re.MULTILINE)
# Of a text that is put together, what is put in.
FIELD = re.compile(r'%\(\w+\)[a-z]|%[a-z]')
QUOTED = re.compile(r'^   \* - ``(.+?)``$', re.MULTILINE | re.DOTALL)
GAP = '…'


def _classes(path: pathlib.Path) -> dict[str, set[str]]:
    """Return the names of a file's classes, with those of their methods."""
    return {node.name: {each.name for each in node.body
                        if isinstance(each, ast.FunctionDef)}
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ClassDef)}


def _texts() -> Iterator[str]:
    """Yield the package's texts, with a gap for what is put in."""
    for path in (ROOT / 'cinder_wt_backup').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield ''.join(
                    str(part.value) if isinstance(part, ast.Constant) else GAP
                    for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(
                    node.value, str):
                yield FIELD.sub(GAP, node.value)


def _said(phrase: str, text: str) -> bool:
    """Whether a text has the parts of a phrase, in their order."""
    at = 0
    for part in phrase.split(GAP):
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


class ThreatModelTest(bounded.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.page = (PAGES / 'threat-model.rst').read_text()

    def test_every_test_that_it_names_is_there(self) -> None:
        named = NAMED.findall(self.page)
        self.assertGreater(len(named), 50)
        missing = []
        for name, kind, method in named:
            path = ROOT / name
            classes = _classes(path) if path.exists() else {}
            if kind not in classes or method and method not in classes[kind]:
                missing.append((name, kind, method))
        self.assertEqual([], missing)

    def test_every_literal_of_a_test_is_understood(self) -> None:
        self.assertEqual(self.page.count('``tests/'),
                         len(NAMED.findall(self.page)))

    def test_every_threat_has_its_worst_its_end_and_its_tests(self) -> None:
        worst = self.page.count('\n  :At worst: ')
        self.assertGreater(worst, 20)
        self.assertEqual(
            (worst, worst),
            (len(re.findall(r'\n  :What stops (?:him|it): ', self.page)),
             len(re.findall(r'\n  :Tests:\s+(?:``tests/|none)', self.page))))


class TroubleshootingTest(bounded.TestCase):

    def test_the_package_says_every_sentence_that_is_explained(self) -> None:
        page = (PAGES / 'troubleshooting.rst').read_text()
        phrases = [re.sub(r'\s+', ' ', phrase)
                   for phrase in QUOTED.findall(page)]
        self.assertGreater(len(phrases), 50)
        texts = list(_texts())
        self.assertEqual([], [phrase for phrase in phrases if not any(
            _said(phrase, text) for text in texts)])


class PagesTest(bounded.TestCase):

    def test_the_readme_is_short_and_leads_to_what_is_there(self) -> None:
        readme = (ROOT / 'README.md').read_text()
        self.assertLessEqual(len(readme.splitlines()), README_LINES)
        self.assertEqual([], [link for link in LINK.findall(readme)
                              if not (ROOT / link).exists()])

    def test_every_picture_has_its_text_and_is_shown(self) -> None:
        pictures = {path.relative_to(PAGES).with_suffix('')
                    for path in PAGES.rglob('*.svg')}
        texts = {path.relative_to(PAGES).with_suffix('')
                 for path in PAGES.rglob('*.dot')}
        self.assertEqual(texts, pictures)
        shown = {(page.parent / name).resolve().relative_to(PAGES)
                 for page in PAGES.rglob('*.rst')
                 for name in PICTURE.findall(page.read_text())}
        self.assertEqual(pictures, {path.with_suffix('') for path in shown})

    def test_a_picture_is_made_of_its_text(self) -> None:
        for text in PAGES.rglob('*.dot'):
            picture = text.with_suffix('.svg').read_text()
            for node in re.findall(r'^ +(\w+) \[label=', text.read_text(),
                                   re.MULTILINE):
                self.assertIn(f'<title>{node}</title>', picture)
