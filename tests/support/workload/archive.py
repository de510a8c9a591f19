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

"""The guest's part of the workload as one file that python3 runs."""

import io
import pathlib
import zipfile

_INSIDE = pathlib.Path(__file__).parent / 'inside'
_MAIN = 'from tests.support.workload.inside import main\nmain.main()\n'


def build() -> bytes:
    """Return a zip archive with ``inside`` under the name it has here."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('__main__.py', _MAIN)
        for package in ('tests', 'tests/support', 'tests/support/workload'):
            archive.writestr(f'{package}/__init__.py', '')
        for file in sorted(_INSIDE.glob('*.py')):
            archive.write(file, f'tests/support/workload/inside/{file.name}')
    return buffer.getvalue()
