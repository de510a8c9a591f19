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

"""What the last backups have achieved."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from cinder import context as contexts
from cinder import objects
from cinder.objects import fields
from cliff import lister

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.claims import metadata
from cinder_wt_backup.cmd import progress
from cinder_wt_backup import plain

COLUMNS = ('project', 'volume', 'backup', 'created', 'status', 'level',
           'reason')
# Backups that are read from the database at a time.
PAGE = 500
LEVEL, REASON = f'{metadata.PREFIX}level', f'{metadata.PREFIX}reason'
# Backups of volumes that nobody used, or of stock Cinder.
NO_CLAIM = '-'
FAILED = fields.BackupStatus.ERROR
ENDED = (fields.BackupStatus.AVAILABLE, fields.BackupStatus.RESTORING,
         FAILED)


class Report(lister.Lister):  # type: ignore[misc]
    """List the level of each volume's last backup, and why it is no better.

    A reason names what to do. Backups of volumes that were not in use are
    consistent and claim nothing: they are listed with ``--all``. Levels and
    reasons are the backups' properties, which their owners can change: the
    notification backup.consistency has what was claimed.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add what is listed."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('--project', metavar='ID',
                            help='the backups of one project')
        parser.add_argument('--volume', metavar='ID',
                            help='the last backup of one volume')
        parser.add_argument('--level', metavar='LEVEL',
                            choices=[level.value for level in claims.Level],
                            help='those of one level, for example crash')
        parser.add_argument('--all', action='store_true',
                            help='also those that claim nothing')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
        """Report; a row a volume."""
        last = progress.shown(_last_of_each(parsed_args), 'volumes')
        return COLUMNS, (_row(backup) for backup in last
                         if _is_wanted(backup, parsed_args))


def _backups(given: argparse.Namespace) -> Iterator[objects.Backup]:
    """Yield the backups, the newest first."""
    filters = {}
    if given.project:
        filters['project_id'] = given.project
    if given.volume:
        filters['volume_id'] = given.volume
    marker = None
    while True:
        page = objects.BackupList.get_all(
            contexts.get_admin_context(), filters=dict(filters), marker=marker,
            limit=PAGE, sort_keys=['created_at', 'id'],
            sort_dirs=['desc', 'desc'])
        yield from (backup for backup in page if backup.status in ENDED)
        if len(page) < PAGE:
            return
        marker = page[-1].id


def _last_of_each(given: argparse.Namespace) -> Iterator[objects.Backup]:
    seen = set()
    for backup in _backups(given):
        if backup.volume_id not in seen:
            seen.add(backup.volume_id)
            yield backup


def _is_wanted(backup: objects.Backup, given: argparse.Namespace) -> bool:
    level = _level(backup)
    if given.level:
        return bool(level == given.level)
    return bool(given.all or level or backup.status == FAILED)


def _level(backup: objects.Backup) -> str:
    """Return a level that there is: owners can write what they like."""
    try:
        return claims.Level(backup.metadata.get(LEVEL)).value
    except ValueError:
        return ''


def _row(backup: objects.Backup) -> tuple[str, ...]:
    reason = (backup.fail_reason if backup.status == FAILED
              else backup.metadata.get(REASON))
    return (backup.project_id, backup.volume_id, backup.id,
            str(backup.created_at), backup.status,
            _level(backup) or NO_CLAIM, plain.text(reason or ''))
