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

"""Packages, the virtual environment, our own plugin. Standard library only.

Each step leaves a stamp and is skipped while that still holds.
"""

from collections.abc import Iterator
import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import time

from tests.support.cloud import console
from tests.support.cloud import layout

PACKAGES = layout.HERE / 'packages.txt'
LOCK = layout.HERE / 'requirements.lock'
DEBIAN_PYTHON = pathlib.Path('/usr/bin/python3.11')
BINDINGS = ('rados', 'rbd')
POLICY = pathlib.Path('/usr/sbin/policy-rc.d')


def everything() -> None:
    """What the cloud needs on this machine, as far as it is missing."""
    if os.geteuid():
        raise console.CloudError(
            'the cloud runs as root: run this as root, on a machine that you '
            'can spare (tests/support/cloud/README.md says what it changes)')
    packages()
    virtual_environment()
    plugin()


def packages() -> None:
    """Debian packages, where one is missing."""
    missing = _missing(PACKAGES.read_text().split())
    if not missing:
        return
    log = layout.INSTALL_LOG / 'apt.log'
    env = os.environ | {'DEBIAN_FRONTEND': 'noninteractive'}
    with _step(f'installing {len(missing)} Debian packages'):
        with _services_not_started():
            console.run('apt-get', 'update', '-q', log=log, env=env)
            console.run('apt-get', 'install', '-y', '-q',
                        '--no-install-recommends', *missing, log=log, env=env)


def virtual_environment() -> None:
    """OpenStack and the test tools at the locked versions."""
    stamp = layout.VENV / 'requirements.sha256'
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    log = layout.INSTALL_LOG / 'pip.log'
    locked = ('-r', LOCK, '--find-links', layout.WHEELS)
    pip = (layout.PYTHON, '-m', 'pip', '-q', '--disable-pip-version-check')
    with _step('fetching and building Python packages'):
        shutil.rmtree(layout.VENV, ignore_errors=True)
        console.run(DEBIAN_PYTHON, '-m', 'venv', layout.VENV, log=log)
        # Debian's own are too old to build some of the others.
        console.run(*pip, 'install', '-c', LOCK, 'pip', 'setuptools', 'wheel',
                    log=log)
        console.run(*pip, 'wheel', '--no-deps', '-w', layout.WHEELS, *locked,
                    log=log)
    with _step('installing Python packages'):
        console.run(*pip, 'install', '--no-index', '--no-deps', *locked,
                    log=log)
        link_bindings(
            layout.VENV / 'lib' / 'python3.11' / 'site-packages')
    stamp.write_text(wanted)


def plugin() -> None:
    """This project itself, editable, again whenever its metadata changed."""
    metadata = [path for name in ('setup.cfg', 'setup.py', 'pyproject.toml')
                if (path := layout.ROOT / name).exists()]
    stamp = layout.VENV / 'plugin.stamp'
    if not metadata or (stamp.exists() and stamp.stat().st_mtime > max(
            path.stat().st_mtime for path in metadata)):
        return
    with _step('installing this project into the virtual environment'):
        started = time.time()
        console.run(layout.PYTHON, '-m', 'pip', '-q', 'install', '--no-deps',
                    '--no-build-isolation', '--no-index', '-e', layout.ROOT,
                    log=layout.INSTALL_LOG / 'plugin.log')
        stamp.touch()
        os.utime(stamp, (started, started))


def _missing(names: list[str]) -> list[str]:
    asked = subprocess.run(
        ('dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\n', *names),
        text=True, capture_output=True)
    installed = {line.split()[0] for line in asked.stdout.splitlines()
                 if line.endswith(' installed')}
    return [name for name in names if name not in installed]


@contextlib.contextmanager
def _services_not_started() -> Iterator[None]:
    # The packages' own services would take this cloud's ports.
    if POLICY.exists():
        yield
        return
    POLICY.write_text('#!/bin/sh\nexit 101\n')
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def link_bindings(target: pathlib.Path) -> None:
    """Put Ceph's into an environment: PyPI has none, but Debian's fit."""
    debian = pathlib.Path('/usr/lib/python3/dist-packages')
    for name in BINDINGS:
        library = next(debian.glob(f'{name}.cpython-311-*.so'))
        (target / library.name).symlink_to(library)


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    console.say(what + ' ...')
    started = time.monotonic()
    yield
    console.say(f'{what}: done in {time.monotonic() - started:.0f} s')
