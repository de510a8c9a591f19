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

"""What pip would change in an installation of Cinder's: nothing but us.

Asked of pip itself, by a dry run, with what Cinder alone gets as the upper
constraints.
"""

import json
import subprocess
import time
from typing import Any

from tests.reports.releases import run
from tests.support.cloud import environment
from tests.support.cloud import layout

SUITE = run.Suite('beside', 'pip install beside Cinder moves nothing')
OURSELVES = 'cinder-wt-backup'
# Whatever is there counts as missing: the report is of everything then.
ASKED = ('-m', 'pip', '--disable-pip-version-check', '-q', '--python')
DRY = ('install', '--dry-run', '--ignore-installed', '--report', '-')
Versions = dict[str, str]


class Refused(Exception):
    """pip found no versions that go together; it says why."""


def look(release: environment.Release) -> run.Result:
    """Compare Cinder alone with Cinder and us, as pip resolves them."""
    if release.system:
        return run.Result(release, SUITE, problem='asked on this Debian only')
    began = time.monotonic()
    alone = _resolved(release)
    constraints = layout.INSTALL_LOG / f'{release.name}-constraints.txt'
    constraints.write_text(''.join(
        f'{name}=={version}\n' for name, version in alone.items()
        if name != 'cinder'))
    try:
        both = _resolved(release, '-c', str(constraints), str(layout.ROOT))
    except Refused as refused:
        return run.Result(release, SUITE, (0, 1, 0),
                          time.monotonic() - began, str(refused))
    return _result(release, alone, both, time.monotonic() - began)


def _result(release: environment.Release, alone: Versions, both: Versions,
            seconds: float) -> run.Result:
    others = {name: version for name, version in both.items()
              if name != OURSELVES}
    moved = [f'{name} {alone.get(name, "none")} -> '
             f'{others.get(name, "none")}; '
             for name in sorted({*alone, *others})
             if alone.get(name) != others.get(name)]
    return run.Result(release, SUITE, (len(alone) - len(moved), len(moved), 0),
                      seconds, ''.join(moved[:run.SHOWN]))


def _resolved(release: environment.Release, *more: str) -> Versions:
    """Return what pip would install for this Cinder, and for these."""
    done = subprocess.run(
        (str(layout.PYTHON), *ASKED, release.python, *DRY,
         '--uploaded-prior-to', release.until,
         str(environment.wheel(release)), *more),
        env=environment.environment(), text=True, capture_output=True)
    if done.returncode:
        raise Refused('; '.join(
            line for line in done.stderr.splitlines() if 'ERROR' in line))
    # Any: pip's report has no types.
    report: Any = json.loads(done.stdout)
    return {_plain(found['metadata']['name']): found['metadata']['version']
            for found in report['install']}


def _plain(name: str) -> str:
    return name.lower().replace('_', '-').replace('.', '-')
