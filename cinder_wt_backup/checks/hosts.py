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
from cinder_wt_backup import exceptions
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
    usable = {host: host for host in hosts if conf.HOST_NAME.fullmatch(host)}
    rows = [row.success('Nova', f'names {len(hosts)} compute hosts')]
    if not hosts:
        rows = [row.failure('Nova', 'names no compute host', NO_CREDENTIALS)]
    return usable, rows


def check(hosts: Mapping[str, str], settings: conf.Settings
          ) -> Iterator[row.Row]:
    """Try every host, some side by side; one that hangs delays no other."""
    with futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield from pool.map(lambda name: _try(name, hosts[name], settings),
                            hosts)


def _try(name: str, address: str, settings: conf.Settings) -> row.Row:
    subject, uri = f'host {name}', settings.uri(address)
    try:
        with compute_host.Hypervisor(uri, settings.agent_timeout) as host:
            running = host.running()
            tried = host.try_agent_commands()
    except exceptions.WriteThroughError as error:
        return row.failure(subject, str(error))
    if not tried:
        return row.warning(
            subject, f'{uri}: reached; no instance runs there, so that it is '
            f'not known whether agent commands are permitted',
            'check again when one runs')
    return row.success(subject, f'{uri}: {running} instances run there, agent '
                       f'commands are permitted')
