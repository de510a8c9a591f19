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

"""Putting guests back by hand."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from cinder import context as contexts
from cinder import objects
from cliff import lister
from oslo_config import cfg

from cinder_wt_backup.cmd import progress
from cinder_wt_backup import conf
from cinder_wt_backup import plain
from cinder_wt_backup.service import record
from cinder_wt_backup.service import release
from cinder_wt_backup.service import store
from cinder_wt_backup.window import methods

COLUMNS = ('volume', 'backup', 'host', 'lease', 'result')


class Release(lister.Lister):  # type: ignore[misc]
    """Put back the guests of windows that are on record as open.

    cinder-backup does this by itself, when it starts and each minute: by hand
    it is for who cannot wait. A window of a backup that is being made keeps
    its instance until it ends: it is waited for, for lock_timeout seconds.
    Where a guest cannot be reached the window stays on record until its lease
    has ended, and is left to that then, as it is where a guest or the volume's
    owner does not permit what putting back takes. What is said on stderr names
    why. The exit status is 1 where something was not seen to be put back.
    """

    needs_locks = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add whose windows."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument('instance', nargs='?',
                           help='an instance\'s id: its windows, also those '
                                'whose leases have not ended')
        which.add_argument('--lapsed', action='store_true',
                           help='all windows whose leases have ended')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Release; a row a window."""
        context = contexts.get_admin_context()
        settings = conf.read(cfg.CONF[conf.GROUP], methods.installed())
        rows: list[tuple[object, ...]] = []
        self._left = 0
        for volume, window in progress.shown(
                _wanted(context, parsed_args), 'windows'):
            released = release.release(context, volume, window, settings)
            self._left += released in (release.Released.BY_LEASE,
                                       release.Released.ON_RECORD)
            rows.append((volume.id, plain.text(window.backup),
                         plain.text(window.host),
                         'ended' if window.lapsed else 'runs',
                         released.value))
        return COLUMNS, rows

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Release and show; return 1 where something stays."""
        super().run(parsed_args)
        return int(self._left > 0)


def _wanted(context: contexts.RequestContext, given: argparse.Namespace
            ) -> Iterator[tuple[objects.Volume, record.OpenWindow]]:
    for volume, window in store.left_open(context):
        if window.lapsed if given.lapsed else any(
                attachment.instance_uuid == given.instance
                for attachment in volume.volume_attachment):
            yield volume, window
