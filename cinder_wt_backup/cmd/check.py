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

"""Whether backups can be consistent from this host."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import logging

from cliff import lister
from oslo_config import cfg

from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest.hypervisor import host as compute_host
from cinder_wt_backup.window import methods

LOG = logging.getLogger(__name__)


class Check(lister.Lister):  # type: ignore[misc]
    """Check the options and the way to every known compute host.

    Changes nothing. Exits with 1 when an option is bad; a host that cannot
    be reached is a row that says why.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add hosts to try where Nova would be asked."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'host', nargs='*',
            help='compute hosts to try (default: those of libvirt_hosts)')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """Check; a row a host."""
        settings = conf.read(cfg.CONF[conf.GROUP], methods.installed())
        for contradiction in conf.contradictions(settings):
            LOG.warning('[%s] %s.', conf.GROUP, contradiction)
        hosts = {host: host for host in parsed_args.host}
        return (('host', 'uri', 'result'),
                (_try(name, address, settings) for name, address
                 in (hosts or settings.hosts).items()))


def _try(name: str, address: str,
         settings: conf.Settings) -> tuple[str, str, str]:
    uri = settings.uri(address)
    try:
        with compute_host.Hypervisor(uri, settings.agent_timeout) as host:
            return name, uri, f'ok: {host.running()} instances run there'
    except exceptions.WriteThroughError as error:
        return name, uri, str(error)
