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

"""cinder-backup, alone or on several hosts, each with options of its own."""

from collections.abc import Mapping
import configparser
import datetime
import os

from tests.support.cloud import configs
from tests.support.cloud import database
from tests.support.cloud import layout
from tests.support.cloud import process

_BINARY = 'cinder-backup'
# Among the options, a section of this name: not eventlet.
NATIVE_THREADS = 'native_threads'
# Ceph 16 does not know the checksums that boto3 adds of late.
_OLD_STORE = {'AWS_REQUEST_CHECKSUM_CALCULATION': 'when_required',
              'AWS_RESPONSE_CHECKSUM_VALIDATION': 'when_required'}
_SITE = layout.HERE / 'site'
# Enough of the scheduler's log to hold the latest news of every host.
_RECENT = 1 << 20


def name_of(host: str) -> str:
    """The name of a host's cinder-backup among the services."""
    return _BINARY if host == layout.HOST else f'{_BINARY}-{host}'


def hosts() -> list[str]:
    """The hosts that have a cinder-backup besides the usual one."""
    found = (layout.ETC / 'cinder').glob('backup-*.conf')
    names = (path.stem.removeprefix('backup-') for path in found)
    return sorted(name for name in names if name != layout.HOST)


def daemon(host: str) -> process.Daemon:
    """The process; its overlay comes last, and so wins."""
    # For drivers that are here only for tests, and for more workers.
    paths = f'{layout.ROOT}{os.pathsep}{_SITE}'
    env = process.CINDER | _OLD_STORE | {'PYTHONPATH': paths}
    if _options(host).has_section(NATIVE_THREADS):
        env['OS_CINDER_DISABLE_EVENTLET_PATCHING'] = 'true'
    return process.Daemon(
        name_of(host),
        [layout.CINDER_VENV / 'bin' / _BINARY,
         '--config-file', layout.CINDER_CONF,
         '--config-file', configs.backup_overlay(host)],
        env, mark=_BINARY, patience=60)


def write_options(host: str,
                  options: Mapping[str, Mapping[str, str]]) -> None:
    """What the host's cinder-backup has on top of cinder.conf."""
    configs.write_backup_overlay(host, options)


def ensure_options(host: str) -> None:
    """Plain options, where there are none yet."""
    if not configs.backup_overlay(host).exists():
        write_options(host, {})


class Ready:
    """Whether a cinder-backup is alive, and known to be by the scheduler.

    Until then a backup fails with "Service not found for creating backup",
    or, in a worker whose driver is not there yet, as "aborted due to backup
    service is down".
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._alive = database.Heartbeat('cinder', _BINARY, host)

    def __call__(self, since: float) -> bool:
        """Look once."""
        return self._alive(since) and _is_known(self._host, since)


def _is_known(host: str, since: float) -> bool:
    """Whether the latest that the scheduler heard of each worker is good.

    The scheduler believes whichever came last, also of the process that was
    there before, and a worker may begin with bad news.
    """
    after = datetime.datetime.fromtimestamp(since).isoformat(' ')
    news = f'Received backup service update from {host}: '
    with layout.log_file('cinder-scheduler').open('rb') as log:
        log.seek(-min(_RECENT, os.fstat(log.fileno()).st_size), os.SEEK_END)
        recent = log.read().decode(errors='replace').splitlines()
    heard = ["'backend_state': True" in line for line in recent
             if news in line and line > after]
    workers = _workers(host)
    return len(heard) >= workers and all(heard[-workers:])


def _workers(host: str) -> int:
    return _options(host).getint('DEFAULT', 'backup_workers')


def _options(host: str) -> configparser.RawConfigParser:
    options = configparser.RawConfigParser(default_section='')
    options.read((layout.CINDER_CONF, configs.backup_overlay(host)))
    return options
