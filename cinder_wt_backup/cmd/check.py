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

from cinder import context as contexts
from cinder import objects
from cliff import lister
from oslo_config import cfg

from cinder_wt_backup.checks import hosts
from cinder_wt_backup.checks import installation
from cinder_wt_backup.checks import row
from cinder_wt_backup.checks import volume as volumes
from cinder_wt_backup.cmd import progress
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.window import methods

COLUMNS = ('what', 'result', 'detail', 'what to do')
REMEDY = 'see that the id is right, and that the database works'


class Check(lister.Lister):  # type: ignore[misc]
    """Check the way from cinder.conf to the guests; change nothing.

    Options, the wrapped driver, this Cinder, database, coordination, Nova's
    credentials and every compute host; with a volume or an instance also its
    attachments, its guests' agents, and by which method a backup would be
    made now. The exit status is 0, 1 where there are warnings, 2 where
    something fails.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add what may be checked besides."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('volume', nargs='?',
                            help='a volume\'s id: check the way to its '
                                 'guests, and no other host')
        parser.add_argument('--server', metavar='ID',
                            help='an instance\'s id: check all its volumes')
        parser.add_argument('--host', action='append', metavar='NAME',
                            help='a compute host to try; may be given several '
                                 'times (default: those of libvirt_hosts, '
                                 'else all that Nova knows)')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Check; a row each."""
        self._rows = list(progress.shown(_check(parsed_args), 'checks'))
        return COLUMNS, [(each.subject, str(each.result), each.detail,
                          each.remedy) for each in self._rows]

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Check and show; return the worst result."""
        super().run(parsed_args)
        return int(row.worst(self._rows))


def _check(given: argparse.Namespace) -> Iterator[row.Row]:
    yield from installation.check(cfg.CONF)
    try:
        settings = conf.read(cfg.CONF[conf.GROUP], methods.installed())
    except (exceptions.ConfigurationError, cfg.Error, ValueError):
        return                  # there is a row that says so
    if given.volume or given.server:
        yield from _check_volumes(given, settings)
        return
    found, rows = (hosts.named(given.host, settings) if given.host
                   else hosts.known(settings))
    yield from rows
    yield from hosts.check(found, settings)


def _check_volumes(given: argparse.Namespace, settings: conf.Settings
                   ) -> Iterator[row.Row]:
    context = contexts.get_admin_context()
    found = [given.volume] if given.volume else []
    if given.server:
        yield from row.guarded(
            f'instance {given.server}', lambda: _of_server(
                context, given.server, found), REMEDY)
    for volume in found:
        yield from row.guarded(
            f'volume {volume}', lambda: volumes.check(
                context, objects.Volume.get_by_id(context, volume), settings),
            REMEDY)


def _of_server(context: contexts.RequestContext, server: str,
               found: list[str]) -> Iterator[row.Row]:
    """Find the volumes of an instance."""
    found += volumes.of_server(context, server)
    if not found:
        yield row.failure(f'instance {server}', 'no volume is attached to it',
                          'see that the id is right')
