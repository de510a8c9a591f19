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

"""The windows that are on record as open."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import time

from cinder import context as cinder_context
from cliff import lister

from cinder_wt_backup import exceptions
from cinder_wt_backup.service import record
from cinder_wt_backup.service import store


class Windows(lister.Lister):  # type: ignore[misc]
    """List the open windows of all cinder-backup hosts.

    One that stays here past its lease is of a service that ended in its
    window: the guest has put itself back, and the record is cleared when
    that cinder-backup starts again, or by another one. One that stays for
    longer than a backup takes may be of a guest that could not be put back
    yet: the log of its host says why.
    """

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """List; a row a window."""
        context = cinder_context.get_admin_context()
        return (('host', 'volume', 'backup', 'lease ends in s'),
                (_shown(volume.id, text)
                 for volume, text in store.on_record(context)))


def _shown(volume: str, text: str) -> tuple[object, ...]:
    """Return a window on record, and what is left of its lease."""
    try:
        window = record.OpenWindow.from_json(text)
    except exceptions.RecordUnreadable as error:
        return '?', volume, str(error), '?'
    return (window.host, volume, window.backup,
            round(window.ends - time.time()))
