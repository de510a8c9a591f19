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


"""A row of the table: what each operation came to in one setting."""

import contextlib
import dataclasses

import openstack

from tests.support.cloud import console
from tests.support.cloud import layout
from tests.support.drivers import bench as benches
from tests.support.drivers import operations
from tests.support.machines import guests
from tests.support.stage import stage

FAILED = 'FAILED'
SEVERAL = 3
# Release and driver: why there is no row, whether with the plugin or not.
DEFECTS = {
    ('2024.1', 'gcs'): "this Cinder's driver stores nothing: it encodes bytes "
                       '(GoogleObjectWriter.close)'}
_WRONG = (console.CloudError, guests.GuestError,
          openstack.exceptions.SDKException)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a row is about.

    :ivar kind: the volume's type, and so its back end
    :ivar threads: native threads instead of eventlet
    """

    driver: str
    kind: str
    threads: bool = False
    workers: int = 1

    @property
    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        mode = 'native threads' if self.threads else 'eventlet'
        return self.driver, self.kind, mode, str(self.workers)


def row(server: stage.Stage, setting: Setting) -> list[str]:
    """Return what each operation came to.

    :param server: has one, whose volume is backed up
    """
    defect = DEFECTS.get((layout.RELEASE, setting.driver))
    if defect:
        return [f'n/a: {defect}', *[''] * (len(operations.ALL) - 1)]
    cells: list[str] = []
    with server.part() as made:
        bench = benches.Bench(made, setting.driver, setting.kind,
                              setting.threads, setting.workers)
        for operation in operations.ALL:
            if cells and not bench.links:
                # Without a first backup there is nothing to go on with.
                return [*cells, *[''] * (len(operations.ALL) - len(cells))]
            try:
                cells.append(operation(bench))
            except _WRONG as error:
                cells.append(' '.join(f'{FAILED}: {error}'.split()))
                with contextlib.suppress(*_WRONG):
                    bench.await_idle()
            console.say(f'{", ".join(setting.cells)}: '
                        f'{operation.__name__}: {cells[-1]}')
    return cells
