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

"""Results of a long run, case by case, in a file that is committed.

A run that was stopped goes on where it was, and one after a change repeats
what the change may have touched: a result counts for the version of the
package and of the case with which it was found.
"""

from collections.abc import Iterable
import hashlib
import json
import os
import pathlib

PACKAGE = pathlib.Path('cinder_wt_backup')
Row = list[str]


class Results:
    """The results in one file.

    :ivar rows: by case: what it was found with, and what was found
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.rows: dict[str, tuple[str, Row]] = {}
        if path.exists():
            self.rows = {case: (version, row) for case, (version, row)
                         in json.loads(path.read_text()).items()}

    def has(self, case: str, version: str) -> bool:
        """Whether there is one of that version."""
        return case in self.rows and self.rows[case][0] == version

    def add(self, case: str, version: str, row: Row) -> None:
        """Keep one, at once."""
        self.rows[case] = version, row
        self._write()

    def keep(self, cases: Iterable[str]) -> None:
        """Forget those of cases that there are no more; order the others."""
        self.rows = {case: self.rows[case] for case in cases
                     if case in self.rows}
        self._write()

    def _write(self) -> None:
        lines = (f'{json.dumps(case)}: {json.dumps(found)}'
                 for case, found in self.rows.items())
        new = self._path.with_suffix('.new')
        new.write_text('{\n' + ',\n'.join(lines) + '\n}\n')
        os.replace(new, self._path)


def version(*parts: object) -> str:
    """Return what tells these from others, by how they are printed."""
    text = '\0'.join(str(part) for part in parts)
    return hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]


def package_version() -> str:
    """Return what tells the package as it is from what it was."""
    return version(*(path.read_text() for path in sorted(
        PACKAGE.rglob('*')) if path.suffix in ('.py', '.sh')))
