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

"""One suite of tests in one release's environment."""

import dataclasses
import os
import re
import subprocess
import time

from tests.support.cloud import environment
from tests.support.cloud import layout

UPSTREAM = 'tests/upstream'
# Seconds; Cinder's tests honour it, and ours are built on them.
TEST_TIMEOUT = '120'
# How many failed tests are named.
SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Suite:
    """A way to run tests.

    :ivar title: what is run
    :ivar arguments: stestr's
    :ivar threads: with native threads instead of eventlet
    """

    name: str
    title: str
    arguments: tuple[str, ...] = ()
    threads: bool = False


_CINDERS = ('--test-path', UPSTREAM,
            '--exclude-list', f'{UPSTREAM}/excluded.txt')
SUITES = (
    Suite('unit', 'our unit tests, eventlet'),
    Suite('unit-threads', 'our unit tests, native threads', threads=True),
    Suite('cinder', "Cinder's backup tests, eventlet", _CINDERS),
    Suite('cinder-threads', "Cinder's backup tests, native threads",
          _CINDERS, threads=True),
)


@dataclasses.dataclass(frozen=True)
class Result:
    """What a suite came to in a release.

    :ivar counts: passed, failed, skipped; None: it was not run, see problem
    :ivar problem: what to read; empty: all is well
    """

    release: environment.Release
    suite: Suite
    counts: tuple[int, int, int] | None = None
    seconds: float = 0
    problem: str = ''

    @property
    def failed(self) -> bool:
        return self.counts is not None and bool(self.problem)


def run(release: environment.Release, suite: Suite) -> Result:
    """Run a suite, where the release has what it is about."""
    if suite.threads and not release.has_threads:
        return Result(release, suite,
                      problem='this Cinder works with eventlet only')
    if suite.arguments and not release.until:
        return Result(release, suite,
                      problem='Debian lacks moto, which these tests need')
    log = layout.INSTALL_LOG / f'{release.name}-{suite.name}.log'
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open('w') as out:
        ended = subprocess.run(
            release.command(release.python, '-m', 'stestr.cli', '--repo-url',
                            str(release.home), 'run', '--serial',
                            *suite.arguments), cwd=layout.ROOT,
            env=_environment(suite), stdout=out, stderr=subprocess.STDOUT)
    text = log.read_text(errors='replace')
    counts = _counts(text)
    fine = ended.returncode == 0 and counts[0] > 0 and counts[1] == 0
    return Result(
        release, suite, counts, time.monotonic() - began,
        '' if fine else f'{_failures(text)} see '
        f'{log.relative_to(layout.ROOT)}')


def _environment(suite: Suite) -> dict[str, str]:
    return os.environ | {
        'PYTHONWARNINGS': 'ignore', 'OS_TEST_TIMEOUT': TEST_TIMEOUT,
        'OS_CINDER_DISABLE_EVENTLET_PATCHING': str(suite.threads).lower()}


def _failures(text: str) -> str:
    """Return the names of the first tests that failed."""
    names = re.findall(r'^\{\d+\} (\S+) .*\.\.\. FAILED$', text,
                       re.MULTILINE)
    return ''.join(f'{name}; ' for name in names[:SHOWN])


def _counts(text: str) -> tuple[int, int, int]:
    """Return what stestr says at its end: passed, failed, skipped."""
    def count(word: str) -> int:
        said = re.findall(rf'^ - {word}: (\d+)$', text, re.MULTILINE)
        return int(said[-1]) if said else 0
    return (count('Passed'), count('Failed') + count('Unexpected Success'),
            count('Skipped'))
