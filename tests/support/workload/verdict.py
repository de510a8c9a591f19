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

"""What came of each backup, side by side, and whether that is good."""

from __future__ import annotations

import dataclasses

import prettytable

from tests.support.workload.inside import checker
from tests.support.workload.inside import database

_LEVELS = ('write-through', 'filesystem')
_DIRTY_MARGIN = 0.9


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One backup: what was asked of it, what it cost, what it has.

    ``stall_ms`` is the longest write(2) of the workload from the request
    until the backup was available, on the guest's own clock. ``changes``
    are the mount options and writeback settings that were not afterwards what
    they had been.
    """

    dirty_mib: int
    records: checker.Findings
    rows: database.Findings
    stall_ms: float
    changes: list[str]
    metadata: dict[str, str]

    @property
    def level(self) -> str:
        """What the backup claims for itself."""
        return self.metadata.get('wt:level', 'crash (claims nothing)')

    @property
    def lost_anything(self) -> bool:
        """Whether anything promised is missing or was put out of order."""
        records, rows = self.records, self.rows
        return bool(records.lost or records.out_of_order or rows.lost
                    or rows.out_of_order or rows.integrity != 'ok')


def faults(stock: Outcome, plugin: Outcome) -> list[str]:
    """Return what speaks against the plugin or against the comparison."""
    checks = (
        (plugin.level not in _LEVELS,
         f"the plugin's backup is at level {plugin.level}: "
         f"{plugin.metadata.get('wt:reason', 'no reason given')}"),
        (plugin.records.lost,
         f'the plugin lost {plugin.records.lost} records'),
        (plugin.records.out_of_order,
         f'the plugin has {plugin.records.out_of_order} records although '
         'earlier ones are missing'),
        (plugin.rows.out_of_order,
         f'the plugin has {plugin.rows.out_of_order} rows although records '
         'written before them are missing'),
        (plugin.rows.integrity != 'ok',
         f"the plugin's database is damaged: {plugin.rows.integrity}"),
        (plugin.rows.lost,
         f'the plugin lost {plugin.rows.lost} committed rows'),
        (plugin.changes,
         'the plugin left the guest with other settings than it found: '
         + ', '.join(plugin.changes)),
        (not stock.lost_anything,
         'stock Cinder lost nothing: this comparison proves nothing'),
        (plugin.dirty_mib < _DIRTY_MARGIN * stock.dirty_mib,
         'the plugin had less dirty data to cope with: '
         'this comparison proves nothing'),
        (not all((stock.records.required, stock.rows.required,
                  plugin.records.required, plugin.rows.required)),
         'nothing had been written: this comparison proves nothing'))
    return [text for wrong, text in checks if wrong]


def table(stock: Outcome, plugin: Outcome) -> str:
    """Return both outcomes as a table, one column each."""
    result = prettytable.PrettyTable(['', 'stock Cinder', 'with the plugin'],
                                     align='l')
    columns = [_column(stock), _column(plugin)]
    result.add_rows([[name, *(column[name] for column in columns)]
                     for name in columns[0]])
    return result.get_string()


def _column(outcome: Outcome) -> dict[str, str]:
    records, rows = outcome.records, outcome.rows
    return {
        'dirty in the guest at the request': f'{outcome.dirty_mib} MiB',
        'level': outcome.level,
        'lost records': f'{records.lost} of {records.required}',
        'out-of-order records': str(records.out_of_order),
        'database integrity': rows.integrity,
        'lost rows': f'{rows.lost} of {rows.required}',
        'rows without records written before them': str(rows.out_of_order),
        'longest write stall': f'{outcome.stall_ms:.0f} ms',
        'window': _milliseconds(outcome.metadata.get('wt:window_ms')),
        'guest settings afterwards':
            'CHANGED' if outcome.changes else 'as before'}


def _milliseconds(value: str | None) -> str:
    return '-' if value is None else f'{value} ms'
