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

"""``cinder-wt-backup-status``: the checks, as upgrade tools run them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import sys

from cinder.common import config  # noqa: F401  registers Cinder's options
from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from cinder_wt_backup.checks import hosts
from cinder_wt_backup.checks import installation
from cinder_wt_backup.checks import row
from cinder_wt_backup import conf
from cinder_wt_backup.window import methods

CODES = {row.Result.SUCCESS: upgradecheck.Code.SUCCESS,
         row.Result.WARNING: upgradecheck.Code.WARNING,
         row.Result.FAILURE: upgradecheck.Code.FAILURE}


def _installation() -> Iterator[row.Row]:
    yield from installation.check(cfg.CONF)


def _hosts() -> Iterator[row.Row]:
    settings = conf.read(cfg.CONF[conf.GROUP], methods.installed())
    known, rows = hosts.known(settings)
    yield from rows
    yield from hosts.check(known, settings)


def _result(rows: Callable[[], Iterable[row.Row]]) -> upgradecheck.Result:
    found = list(row.guarded('check', rows, 'run cinder-wt-backup check'))
    told = [f'{each.subject}: {each.detail}'
            + (f' ({each.remedy})' if each.remedy else '')
            for each in found if each.result is not row.Result.SUCCESS]
    return upgradecheck.Result(CODES[row.worst(found)],
                               '; '.join(told) or None)


class Checks(upgradecheck.UpgradeCommands):  # type: ignore[misc]
    """The rows of ``cinder-wt-backup check``, in two of oslo's."""

    _upgrade_checks = (
        ('This host', lambda _self: _result(_installation)),
        ('Compute hosts', lambda _self: _result(_hosts)))


def main() -> int:
    """Run ``cinder-wt-backup-status upgrade check``."""
    conf.register(cfg.CONF)
    return int(upgradecheck.main(cfg.CONF, project='cinder',
                                 upgrade_command=Checks(),
                                 argv=sys.argv[1:]))
