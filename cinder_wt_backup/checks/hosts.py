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

"""The compute hosts: which there are, and whether they can be used."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent import futures

from cinder.compute import nova
from cinder import context as contexts

from cinder_wt_backup.checks import row
from cinder_wt_backup import conf
from cinder_wt_backup.guest.hypervisor import host as compute_host

BINARY = 'nova-compute'
SIDE_BY_SIDE = 8
NO_CREDENTIALS = ('set the credentials of the [nova] section to those of a '
                  'user that may see where instances run, or list the compute '
                  'hosts in libvirt_hosts')


def known(settings: conf.Settings) -> tuple[Mapping[str, str],
                                            Sequence[row.Row]]:
    """Return the hosts, name -> address, and how that is known.

    Those of libvirt_hosts; Nova is asked where there are none.
    """
    if settings.hosts:
        return settings.hosts, [row.success(
            'hosts', f'libvirt_hosts names {len(settings.hosts)}')]
    try:
        services = nova.novaclient(
            contexts.get_admin_context(), privileged_user=True,
            timeout=settings.agent_timeout).services.list(binary=BINARY)
    except Exception as error:
        # Whatever keystone, Nova or the network raised.
        return {}, [row.failure('Nova', row.text_of(error), NO_CREDENTIALS)]
    hosts = [str(service.host) for service in services]
    if not hosts:
        return {}, [row.failure('Nova', 'names no compute host',
                                NO_CREDENTIALS)]
    rows = [row.success('Nova', f'names {len(hosts)} compute hosts')]
    usable = {host: host for host in hosts if conf.HOST_NAME.fullmatch(host)}
    rows += [_no_uri(host) for host in hosts if host not in usable]
    return usable, rows


def named(names: Sequence[str], settings: conf.Settings
          ) -> tuple[Mapping[str, str], Sequence[row.Row]]:
    """Return some hosts, name -> address, and which backups never use."""
    if settings.hosts:
        return ({name: settings.hosts[name] for name in names
                 if name in settings.hosts},
                [row.failure(f'host {name}', 'libvirt_hosts does not name it: '
                             'instances there are not touched',
                             'add it to libvirt_hosts')
                 for name in names if name not in settings.hosts])
    usable = {name: name for name in names if conf.HOST_NAME.fullmatch(name)}
    return usable, [_no_uri(name) for name in names if name not in usable]


def _no_uri(name: str) -> row.Row:
    return row.failure(f'host {name}', 'no URI can be made of this name',
                       'list it as "NAME:ADDRESS" in libvirt_hosts')


def check(hosts: Mapping[str, str], settings: conf.Settings
          ) -> Iterator[row.Row]:
    """Try every host, some side by side; one that hangs delays no other."""
    with futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for rows in pool.map(lambda name: list(row.guarded(
                f'host {name}', lambda: [_try(name, hosts[name], settings)],
                'check libvirt_uri and libvirt_hosts')), hosts):
            yield from rows


def _try(name: str, address: str, settings: conf.Settings) -> row.Row:
    subject, uri = f'host {name}', settings.uri(address)
    with compute_host.Hypervisor(uri, settings.agent_timeout) as host:
        running = host.running()
        tried = host.try_agent_commands()
    if not tried:
        return row.warning(
            subject, f'{uri}: {running} instances run there; with none could '
            f'it be tried whether agent commands are permitted',
            'check again when there is one')
    return row.success(subject, f'{uri}: {running} instances run there, agent '
                       f'commands are permitted')
