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

"""Backups that wait for a window: in threads of their own, none of RPC's.

Restores and deletions are served by the same RPC threads, and in Cinder before
2026 are counted together with create_backup (``backup_max_operations``). So
whoever has to wait before his guest is changed holds neither.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import threading

from oslo_log import log as logging

from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup import plain
from cinder_wt_backup.service import attachments
from cinder_wt_backup.service import fairness
from cinder_wt_backup.service import plan as plans
from cinder_wt_backup.service import slots

LOG = logging.getLogger(__name__)


class Queue:
    """The windows that a process may have open, and who waits for one.

    :param settings: the ``[write_through]`` section
    :ivar slots: the windows
    """

    def __init__(self, settings: conf.Settings) -> None:
        self.slots = slots.Slots(settings.max_windows,
                                 slow=settings.opening_timeout / 2)
        self._timeout = settings.queue_timeout
        self._turns: dict[str, fairness.Turn] = {}
        self._threads: set[threading.Thread] = set()

    def start(self, plan: plans.BackupPlan, go_on: Callable[[], object]
              ) -> None:
        """Go on with a backup when it is its turn: at once, or later.

        :param go_on: comes to :meth:`turn`, unless the backup fails before
        """
        backup = plan.backup.id
        turn = self._turns[backup] = self.slots.ask(_wish(plan))
        if turn.given is not None:
            self._go_on(backup, go_on)
            return
        LOG.info('Backup %s waits for its turn: as many windows are open as '
                 'may be, of its instance, its back end or in all.', backup)
        thread = threading.Thread(target=self._go_on_later, daemon=True,
                                  args=(backup, turn, go_on))
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            # There are no threads left: it waits in this one.
            LOG.warning('Backup %(backup)s waits in a thread of RPC: '
                        '%(error)s.', {'backup': backup, 'error': error})
            self._threads.discard(thread)
            self._go_on(backup, go_on)

    @contextlib.contextmanager
    def turn(self, plan: plans.BackupPlan) -> Iterator[fairness.Turn]:
        """Wait until it is a backup's turn; the body has the window.

        Or none, when it did not come to be: ``refused`` says why.
        """
        turn = self._turns.pop(plan.backup.id, None) or self.slots.ask(
            _wish(plan))
        try:
            self._wait(turn)
            yield turn
        finally:
            self.slots.leave(turn)

    def stop(self) -> None:
        """Have nobody wait any more: they go on without a window."""
        self.slots.stop()

    def join(self) -> None:
        """Wait until all who had waited have started their backups."""
        for thread in list(self._threads):
            thread.join()

    def _go_on_later(self, backup: str, turn: fairness.Turn,
                     go_on: Callable[[], object]) -> None:
        try:
            self._wait(turn)
            self._go_on(backup, go_on)
        except Exception as error:
            # As RPC would: Cinder has put the backup to error.
            LOG.error('Backup %s could not be started.', backup,
                      exc_info=plain.error(error))
        finally:
            self._threads.discard(threading.current_thread())

    def _go_on(self, backup: str, go_on: Callable[[], object]) -> None:
        try:
            go_on()
        finally:
            # It may have failed before it came to its window.
            unused = self._turns.pop(backup, None)
            if unused is not None:
                self.slots.leave(unused)

    def _wait(self, turn: fairness.Turn) -> None:
        with contextlib.suppress(exceptions.NoSlot):
            # The turn has the reason.
            self.slots.wait(turn, self._timeout)


def _wish(plan: plans.BackupPlan) -> fairness.Wish:
    wish = attachments.wish_of(plan.volume)
    # What the driver does by itself does not wait for cinder-volume.
    return dataclasses.replace(
        wish, backend=f'{wish.backend} by the backup driver'
    ) if plan.in_driver else wish
