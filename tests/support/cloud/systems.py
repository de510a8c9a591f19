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

"""Other Debian releases, each in a folder below .cache/systems.

For their Python and their packages: commands run in them by chroot(8), with
the work tree at its own place.
"""

import dataclasses
import hashlib
import pathlib
import shutil

from tests.support.cloud import console
from tests.support.cloud import image
from tests.support.cloud import layout

# What an environment of Python's takes, and what has no wheels for it.
PACKAGES = ('ca-certificates', 'gcc', 'libc6-dev', 'python3-dev',
            'python3-libvirt', 'python3-rados', 'python3-rbd', 'python3-venv')
# Debian's own modules.
DIST_PACKAGES = pathlib.PurePosixPath('usr/lib/python3/dist-packages')
# How the network is reached: as from here.
SHARED = ('/etc/resolv.conf', '/etc/ssl/certs/ca-certificates.crt')
# What is mounted is gone with the last process in there.
ENTER = '''
set -e
root=$1 tree=$2 cache=$3
shift 3
for place in /dev /proc "$tree" "$cache"; do
    mkdir -p "$root$place"
    mount --bind "$place" "$root$place"
done
exec chroot "$root" env --chdir="$tree" "$@"
'''


@dataclasses.dataclass(frozen=True)
class System:
    """A Debian release.

    :ivar suite: Debian's name of it
    :ivar packages: what it has besides ``PACKAGES``
    """

    suite: str
    packages: tuple[str, ...] = ()

    @property
    def home(self) -> pathlib.Path:
        """Where its root directory is."""
        return layout.SYSTEMS / self.suite

    @property
    def dist_packages(self) -> pathlib.Path:
        """Where Debian's own modules for Python are, from outside."""
        return self.home / DIST_PACKAGES

    def ensure(self) -> None:
        """Install it, unless it is there already."""
        stamp = self.home.with_suffix('.sha256')
        wanted = hashlib.sha256(repr(self._options()).encode()).hexdigest()
        if not stamp.exists() or stamp.read_text() != wanted:
            self._install()
            stamp.write_text(wanted)
        for path in SHARED:
            shutil.copyfile(path, f'{self.home}{path}')

    def command(self, *argv: str) -> tuple[str, ...]:
        """Return what runs a command in it, in the work tree; as root."""
        return ('unshare', '--mount', 'sh', '-c', ENTER, 'sh', str(self.home),
                str(layout.ROOT), str(layout.CACHE.resolve()), *argv)

    def _install(self) -> None:
        console.say(f'installing Debian {self.suite} into a folder ...')
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.parent.mkdir(parents=True, exist_ok=True)
        console.run('mmdebstrap', *self._options(), self.suite, self.home,
                    image.source(self.suite),
                    log=layout.INSTALL_LOG / f'system-{self.suite}.log')

    def _options(self) -> tuple[str, ...]:
        return (*image.OPTIONS, '--variant=minbase',
                f'--include={",".join(PACKAGES + self.packages)}')


BULLSEYE = System('bullseye')
TRIXIE = System('trixie')
# With Debian's own Cinder, and what the tests need.
BOOKWORM = System('bookworm', (
    'python3-cinder', 'python3-ddt', 'python3-fixtures', 'python3-hypothesis',
    'python3-oslotest', 'python3-stestr', 'python3-testtools',
    'python3-wheel'))
