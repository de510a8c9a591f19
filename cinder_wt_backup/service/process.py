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

"""What windows need of the Cinder process that they run in.

Below the service nothing imports Cinder, so this is handed to it.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib

from cinder import coordination
from oslo_log import log as logging
from tooz import coordination as tooz

from cinder_wt_backup import exceptions
from cinder_wt_backup import plain

LOG = logging.getLogger(__name__)

LOCK = 'wt-backup-%s'


@contextlib.contextmanager
def lock(instance: str, timeout: int) -> Iterator[None]:
    """Keep other windows away from an instance: a thaw is guest-wide.

    The lock is of all processes and hosts that share Cinder's coordination
    back end.

    :raises WindowInTheWay: another one took longer than ``timeout`` seconds
    """
    held = coordination.COORDINATOR.get_lock(LOCK % instance)
    try:
        acquired = held.acquire(blocking=timeout)
    except tooz.LockAcquireFailed:
        acquired = False
    if not acquired:
        raise exceptions.WindowInTheWay(
            f'another window in instance {instance} took longer than '
            f'lock_timeout = {timeout} s')
    try:
        yield
    finally:
        try:
            held.release()
        except Exception as error:
            # Of whatever back end: it must not keep a backup from going on.
            LOG.error('The lock of instance %s was not released.', instance,
                      exc_info=plain.error(error))
