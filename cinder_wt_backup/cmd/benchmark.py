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

"""How long a window takes, without the snapshot that it is for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import dataclasses
import time

from cinder import context as cinder_context
from cinder import objects
from cliff import lister
from oslo_config import cfg

from cinder_wt_backup import conf
from cinder_wt_backup.service import attachments
from cinder_wt_backup.service import process
from cinder_wt_backup.window import methods
from cinder_wt_backup.window import volume as windows


class Benchmark(lister.Lister):  # type: ignore[misc]
    """Open and close windows on a volume in use, without a backup.

    The guests that have the volume are made write-through and put back, as
    for a backup; no snapshot is made in between. Where a guest cannot end a
    freeze by itself it is not frozen.
    """

    needs_locks = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the volume and the number of rounds."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('volume', help='the volume\'s id')
        parser.add_argument('--rounds', type=int, default=5, metavar='N',
                            help='how many windows (default: 5)')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """Measure; a row a window."""
        context = cinder_context.get_admin_context()
        volume = objects.Volume.get_by_id(context, parsed_args.volume)
        # Nothing is on record of these windows: without a lease nobody would
        # end a freeze if this process died in it.
        settings = dataclasses.replace(
            conf.read(cfg.CONF[conf.GROUP], methods.installed()),
            freeze_without_lease=False)
        targets = attachments.locate(context, volume, settings)
        return (('open ms', 'close ms', 'together ms', 'agent round trips',
                 'level', 'reason'),
                (_measure(windows.Window(targets, settings,
                                         process.lock))
                 for _round in range(parsed_args.rounds)))


def _measure(opened: windows.Window) -> tuple[object, ...]:
    began = time.monotonic()
    opened.open()
    engaged = time.monotonic()
    opened.cover()
    claim = opened.close()
    ended = time.monotonic()
    return (round(1000 * (engaged - began)), round(1000 * (ended - engaged)),
            round(1000 * (ended - began)), opened.round_trips,
            claim.level.value, claim.reason)
