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

"""A virtual environment for each Cinder release, below .cache/releases.

And for some on other Debian releases than this machine's: for the Python that
these have, or for their own Cinder.
"""

from collections.abc import Sequence
import dataclasses
import hashlib
from importlib import metadata
import os
import pathlib
import shutil

from tests.support.cloud import console
from tests.support.cloud import install
from tests.support.cloud import layout
from tests.support.cloud import systems

WHEELS = layout.RELEASES / 'wheels'
# What decides what is in an environment, besides its release.
SOURCES = (layout.ROOT / 'requirements.txt', layout.ROOT / 'setup.cfg',
           pathlib.Path(__file__).with_name('environment.txt'))
# Debian 12's libvirt; on another Debian it is that one's, as it is there.
BINDINGS = 'libvirt-python==9.0.0'
# Of Debian's: what PyPI has no wheels for.
LINKED = ('libvirt.py', 'libvirt_qemu.py', 'libvirtmod.*.so',
          'libvirtmod_qemu.*.so', *(f'{name}.*.so' for name
                                    in install.BINDINGS))
# The first that knows dates, and one that knows editable installations.
TOOLS = ('pip>=26.0', 'setuptools>=64,<81')
SHOWN = ('eventlet', 'oslo.messaging', 'oslo.db', 'SQLAlchemy', 'tooz')


@dataclasses.dataclass(frozen=True)
class Release:
    """A release of OpenStack.

    :ivar name: OpenStack's name of it
    :ivar cinder: its newest Cinder
    :ivar until: the day after it came out. No later version of anything
        else is used: about what OpenStack's upper constraints, which are on
        no package index, had for it. Empty: all is Debian's
    :ivar system: the Debian that it is on, if not this machine's
    """

    name: str
    cinder: str
    until: str = ''
    system: systems.System | None = None

    @property
    def home(self) -> pathlib.Path:
        return layout.RELEASES / self.name

    @property
    def python(self) -> str:
        """Its interpreter's path."""
        return str(self.home / 'bin' / 'python')

    @property
    def packages(self) -> pathlib.Path:
        """Where its packages are."""
        return next(self.home.glob('lib/python3.*/site-packages'))

    @property
    def has_threads(self) -> bool:
        """Whether this Cinder can do without eventlet."""
        return any((where / 'cinder' / 'monkey_patch.py').exists()
                   for where in self._places())

    def command(self, *argv: str) -> tuple[str, ...]:
        """Return what runs a command where its interpreter is."""
        return self.system.command(*argv) if self.system else argv

    def versions(self) -> tuple[str, ...]:
        """The versions of Python, and of the packages that are ``SHOWN``."""
        found = {package.name.lower(): package.version for package
                 in metadata.distributions(path=map(str, self._places()))}
        return (self.packages.parent.name[len('python'):],
                *(found[name.lower()] for name in SHOWN))

    def _places(self) -> list[pathlib.Path]:
        debian = [self.system.dist_packages] if (
            self.system and not self.until) else []
        return [self.packages, *debian]


RELEASES = (
    Release('2024.1', '24.5.0', '2024-04-04T00:00:00Z'),
    Release('2025.1', '26.3.0', '2025-04-03T00:00:00Z'),
    Release('2025.2', '27.0.0', '2025-10-02T00:00:00Z'),
    Release('2026.1', '28.0.0', '2026-04-02T00:00:00Z'),
    Release('2026.2', '29.0.0', '2026-10-01T00:00:00Z'),
)
# The oldest Python and the newest, and the Cinder that Debian 12 has.
ON_DEBIAN = (
    Release('2024.1-debian11', '24.5.0', RELEASES[0].until, systems.BULLSEYE),
    Release('zed-debian12', '21.3.1', system=systems.BOOKWORM),
    Release('2026.2-debian13', '29.0.0', RELEASES[-1].until, systems.TRIXIE),
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
    if release.system:
        release.system.ensure()
    stamp, wanted = release.home / 'made.sha256', _digest(release)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    console.say(f'{release.name}: Cinder {release.cinder} and what ' + (
        f'PyPI had until {release.until[:10]} ...' if release.until
        else 'Debian has ...'))
    shutil.rmtree(release.home, ignore_errors=True)
    if release.system:
        _make_there(release, release.system)
    else:
        _make_here(release)
    stamp.write_text(wanted)


def _make_here(release: Release) -> None:
    _run(install.DEBIAN_PYTHON, '-m', 'venv', '--without-pip', release.home)
    pip = *_pip(), '--python', release.python
    _run(*pip, 'install', *_wanted(release), BINDINGS)
    _run(*pip, *_OURSELVES)
    install.link_bindings(release.packages)


def _make_there(release: Release, system: systems.System) -> None:
    """The same on another Debian, with a pip of its own."""
    pip = release.python, '-m', 'pip', '-q', '--disable-pip-version-check'
    debians = () if release.until else ('--system-site-packages',)
    _run(*system.command('python3', '-m', 'venv', *debians,
                         str(release.home)))
    if release.until:
        _run(*system.command(*pip, 'install', *TOOLS))
        _run(*system.command(*pip, 'install', *_wanted(release)))
        for path in (found for name in LINKED
                     for found in system.dist_packages.glob(name)):
            (release.packages / path.name).symlink_to(
                pathlib.Path('/', systems.DIST_PACKAGES, path.name))
    _run(*system.command(*pip, *_OURSELVES))


def wheel(release: Release) -> pathlib.Path:
    """Return its Cinder: point releases come later than the rest."""
    _run(*_pip(), 'download', '--no-deps', '-d', WHEELS,
         f'cinder=={release.cinder}')
    return next(WHEELS.glob(f'cinder-{release.cinder}-*.whl'))


def _wanted(release: Release) -> tuple[str, ...]:
    """Return pip's arguments for all that an environment has."""
    # A file, so that the limit is not for it.
    return ('--uploaded-prior-to', release.until, str(wheel(release)),
            '-r', str(SOURCES[0]), '-r', str(SOURCES[-1]))


_OURSELVES = ('install', '--no-deps', '--no-build-isolation', '--no-index',
              '-e', str(layout.ROOT))


def _pip() -> Sequence[str]:
    """Ours, also for the others: those of old know no dates."""
    return (str(layout.PYTHON), '-m', 'pip', '-q',
            '--disable-pip-version-check')


def _run(*argv: str | os.PathLike[str]) -> None:
    console.run(*argv, env=environment(),
                log=layout.INSTALL_LOG / 'releases.log')


def environment() -> dict[str, str]:
    """Return the environment that pip is run in.

    pip.conf may name further indexes, and one that knows no dates gives
    everything. What the environment's own PIP_* variables say is kept.
    """
    return os.environ | {'PIP_CONFIG_FILE': os.devnull}


def _digest(release: Release) -> str:
    text = repr(release).encode()
    return hashlib.sha256(text + b''.join(
        source.read_bytes() for source in SOURCES)).hexdigest()
