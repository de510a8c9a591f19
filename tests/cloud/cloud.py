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

from collections.abc import Iterable, Mapping
import dataclasses
import shutil

import openstack

from tests.cloud import accounts
from tests.cloud import backup
from tests.cloud import configs
from tests.cloud import console
from tests.cloud import graph
from tests.cloud import hypervisor
from tests.cloud import install
from tests.cloud import layout
from tests.cloud import outside
from tests.cloud import process
from tests.cloud import services


@dataclasses.dataclass(frozen=True)
class Status:
    """One service; ``pid`` is None while it is down."""

    name: str
    pid: int | None
    port: int | None


def up(names: Iterable[str] | None = None) -> None:
    """Bring up the cloud, or the named services and what they need."""
    install.everything()
    nodes = services.table()
    graph.bring_up(nodes, nodes if names is None else names)
    console.say('the cloud is up' if names is None else 'up')


def down() -> None:
    """Stop everything; servers shut down first, and come back with ``up``.

    The next cinder-backup has the plain options again, and only one host.
    """
    graph.take_down(services.table())
    for host in (layout.HOST, *backup.hosts()):
        configs.backup_overlay(host).unlink(missing_ok=True)
    outside.put_back()
    console.say('the cloud is down')


def destroy() -> None:
    """Stop everything and remove all that is in the cloud."""
    if layout.RUN.exists():
        up(['libvirtd'])
        graph.take_down({
            name: node for name, node in services.table().items()
            if name == 'nova-compute'})
        hypervisor.forget()
    down()
    shutil.rmtree(layout.CLOUD, ignore_errors=True)
    shutil.rmtree(layout.SOCKETS, ignore_errors=True)
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


def restart(name: str) -> None:
    """Stop one service, start it again, wait until it is ready."""
    service = _service(name)
    service.take_down()
    service.bring_up()


def restart_backup(options: Mapping[str, Mapping[str, str]],
                   host: str = layout.HOST) -> None:
    """Restart a host's cinder-backup with options, by section.

    They override cinder.conf; with ``{}`` it is the plain posix driver. A
    host that has none gets one. Returns when backups can be asked for.
    """
    backup.write_options(host, options)
    restart(backup.name_of(host))


def remove_backup(host: str) -> None:
    """End and forget a second host's cinder-backup."""
    if host == layout.HOST:
        raise ValueError(f'{host} is the one that stays')
    daemon(backup.name_of(host)).stop()
    configs.backup_overlay(host).unlink()
    # A scheduler never forgets a host that once could make backups.
    restart('cinder-scheduler')


def _service(name: str) -> graph.Service:
    node = services.table().get(name)
    if not isinstance(node, graph.Service):
        raise console.CloudError(f'there is no service {name!r}')
    return node
