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

"""What tests and the command line do with the cloud.

Import it from inside the virtual environment of ``.cache/venv``.
"""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import fcntl
import functools
import shutil
from typing import ParamSpec

import openstack

from tests.support.cloud import accounts
from tests.support.cloud import backup
from tests.support.cloud import configs
from tests.support.cloud import console
from tests.support.cloud import database
from tests.support.cloud import environment
from tests.support.cloud import graph
from tests.support.cloud import hypervisor
from tests.support.cloud import install
from tests.support.cloud import layout
from tests.support.cloud import outside
from tests.support.cloud import process
from tests.support.cloud import services

_Arguments = ParamSpec('_Arguments')


def _alone(change: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
    """Let one caller at a time, in any process, change what runs."""
    @functools.wraps(change)
    def changing(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        layout.CLOUD.mkdir(parents=True, exist_ok=True)
        with (layout.CLOUD / 'lock').open('w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                console.say('waiting for another command to end ...')
                fcntl.flock(lock, fcntl.LOCK_EX)
            change(*args, **kwargs)
    return changing


@dataclasses.dataclass(frozen=True)
class Status:
    """One service; ``pid`` is None while it is down."""

    name: str
    pid: int | None
    port: int | None


@_alone
def up(names: Iterable[str] | None = None) -> None:
    """Bring up the cloud, or the named services and what they need."""
    install.plugin()
    _keep_release()
    if layout.RELEASE:
        environment.make(environment.named(layout.RELEASE))
    nodes = services.table()
    graph.bring_up(nodes, nodes if names is None else names)
    console.say(f'{"the cloud" if names is None else ", ".join(names)} is up')


@_alone
def down() -> None:
    """Stop everything; servers shut down first, and come back with ``up``.

    The next cinder-backup has the plain options again, and only one host.
    """
    _down()


@_alone
def destroy() -> None:
    """Stop everything and remove all that is in the cloud."""
    if (layout.DONE / 'old-servers').exists():
        _forget_servers()
    _down()
    for path in (layout.CLOUD, layout.SOCKETS):
        shutil.rmtree(path, ignore_errors=True)
    console.say('the cloud is gone')


def status() -> list[Status]:
    """All services, running or not."""
    return [Status(name, node.daemon.pid, layout.PORTS.get(name))
            for name, node in services.table().items()
            if isinstance(node, graph.Service)]


def connect() -> openstack.connection.Connection:
    """A connection to the cloud as its administrator."""
    return accounts.connect()


def daemon(name: str) -> process.Daemon:
    """A service's process, for its pid, its log or an untimely end."""
    return _service(name).daemon


@_alone
def restart(name: str) -> None:
    """Stop one service, start it again, wait until it is ready."""
    _restart(name)


@_alone
def restart_backup(options: Mapping[str, Mapping[str, str]],
                   host: str = layout.HOST) -> None:
    """Restart a host's cinder-backup with options, by section.

    They override cinder.conf; with ``{}`` it is the plain posix driver. A
    host that has none gets one. Returns when backups can be asked for.
    """
    backup.write_options(host, options)
    _restart(backup.name_of(host))


@_alone
def remove_backup(host: str) -> None:
    """End and forget a second host's cinder-backup."""
    if host == layout.HOST:
        raise ValueError(f'{host} is the one that stays')
    daemon(backup.name_of(host)).stop()
    configs.backup_overlay(host).unlink()
    database.forget_service('cinder', 'cinder-backup', host)
    # A scheduler never forgets a host that once could make backups.
    _restart('cinder-scheduler')


def _keep_release() -> None:
    """Refuse to run another release's Cinder on tables that are there."""
    note, has_tables = layout.CLOUD / 'release', layout.DONE / 'cinder-data'
    was = note.read_text() if note.exists() else ''
    if has_tables.exists() and was != layout.RELEASE:
        raise console.CloudError(
            f'this cloud\'s CINDER_RELEASE is {was!r}, not '
            f'{layout.RELEASE!r}: set it, or remove the cloud first '
            '(python3 -m tests.support.cloud destroy)')
    note.write_text(layout.RELEASE)


def _restart(name: str) -> None:
    _service(name).take_down()
    graph.bring_up(services.table(), [name])


def _down() -> None:
    graph.take_down(services.table())
    for host in (layout.HOST, *backup.hosts()):
        configs.backup_overlay(host).unlink(missing_ok=True)
    outside.put_back()
    console.say('the cloud is down')


def _forget_servers() -> None:
    # nova-compute would note their end, or start them again.
    _service('nova-compute').take_down()
    graph.bring_up(services.table(), ['libvirtd'])
    hypervisor.forget()


def _service(name: str) -> graph.Service:
    node = services.table().get(name)
    if not isinstance(node, graph.Service):
        raise console.CloudError(f'there is no service {name!r}')
    return node
