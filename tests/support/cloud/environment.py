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

"""A virtual environment for each Cinder release, below .cache/releases."""

from collections.abc import Sequence
import dataclasses
import functools
import hashlib
from importlib import metadata
import os
import pathlib
import shutil

from tests.support.cloud import console
from tests.support.cloud import install
from tests.support.cloud import layout

WHEELS = layout.RELEASES / 'wheels'
# What decides what is in an environment, besides its release.
SOURCES = (layout.ROOT / 'requirements.txt', layout.ROOT / 'setup.cfg',
           pathlib.Path(__file__).with_name('environment.txt'))
SHOWN = ('eventlet', 'oslo.messaging', 'oslo.db', 'SQLAlchemy', 'tooz')


@dataclasses.dataclass(frozen=True)
class Release:
    """A release of OpenStack.

    :ivar name: OpenStack's name of it
    :ivar cinder: its newest Cinder
    :ivar until: the day after it came out. No later version of anything
        else is used: about what OpenStack's upper constraints, which are on
        no package index, had for it
    """

    name: str
    cinder: str
    until: str

    @property
    def home(self) -> pathlib.Path:
        return layout.RELEASES / self.name

    @property
    def packages(self) -> pathlib.Path:
        """Where its packages are."""
        return self.home / 'lib' / 'python3.11' / 'site-packages'

    @property
    def has_threads(self) -> bool:
        """Whether this Cinder can do without eventlet."""
        return (self.packages / 'cinder' / 'monkey_patch.py').exists()

    def versions(self) -> tuple[str, ...]:
        """The versions of the packages that are ``SHOWN``."""
        found = {package.name.lower(): package.version for package
                 in metadata.distributions(path=[str(self.packages)])}
        return tuple(found[name.lower()] for name in SHOWN)


RELEASES = (
    Release('2024.1', '24.5.0', '2024-04-04T00:00:00Z'),
    Release('2025.1', '26.3.0', '2025-04-03T00:00:00Z'),
    Release('2026.1', '28.0.0', '2026-04-02T00:00:00Z'),
    Release('2026.2', '29.0.0', '2026-10-01T00:00:00Z'),
)


def named(name: str) -> Release:
    """The release of a name; CloudError when it is not among them."""
    for release in RELEASES:
        if release.name == name:
            return release
    raise console.CloudError(f'there is no release {name!r}: choose one of ' +
                             ', '.join(each.name for each in RELEASES))


def make(release: Release) -> None:
    """Make a release's environment, unless there is one already."""
    stamp, wanted = release.home / 'made.sha256', _digest(release)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    console.say(f'{release.name}: Cinder {release.cinder} and what PyPI had '
                f'until {release.until[:10]} ...')
    run = functools.partial(console.run, env=_environment(),
                            log=layout.INSTALL_LOG / 'releases.log')
    shutil.rmtree(release.home, ignore_errors=True)
    run(install.DEBIAN_PYTHON, '-m', 'venv', '--without-pip', release.home)
    run(*_pip(), 'download', '--no-deps', '-d', WHEELS,
        f'cinder=={release.cinder}')
    # A file, so that the limit is not for it: point releases come later.
    cinder = next(WHEELS.glob(f'cinder-{release.cinder}-*.whl'))
    run(*_pip(release), 'install', '--uploaded-prior-to', release.until,
        cinder, '-r', SOURCES[0], '-r', SOURCES[-1])
    run(*_pip(release), 'install', '--no-deps', '--no-build-isolation',
        '--no-index', '-e', layout.ROOT)
    install.link_bindings(release.packages)
    stamp.write_text(wanted)


def _pip(release: Release | None = None) -> Sequence[str]:
    """Ours, also for the others: those of old know no dates."""
    into = () if release is None else (
        '--python', str(release.home / 'bin' / 'python'))
    return (str(layout.PYTHON), '-m', 'pip', '-q',
            '--disable-pip-version-check', *into)


def _environment() -> dict[str, str]:
    # pip.conf may name further indexes, and one that knows no dates gives
    # everything. What the environment's own PIP_* variables say is kept.
    return os.environ | {'PIP_CONFIG_FILE': os.devnull}


def _digest(release: Release) -> str:
    text = repr(release).encode()
    return hashlib.sha256(text + b''.join(
        source.read_bytes() for source in SOURCES)).hexdigest()
