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
import functools
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
        self._settings = settings
        self._turns: dict[str, fairness.Turn] = {}
        self._threads: set[threading.Thread] = set()

    def start(self, plan: plans.BackupPlan, wish: fairness.Wish,
              go_on: Callable[[], object]) -> None:
        """Start a backup here, if it is its turn, else in a thread of its own.

        :param go_on: comes to :meth:`turn`, unless the backup fails before
        """
        turn = self._turns[plan.backup.id] = self.slots.ask(wish)
        if turn.given is not None:
            self._start(plan.backup.id, turn, go_on)
            return
        LOG.info('Backup %s waits for its turn: as many windows are open as '
                 'may be, of its instance, its back end or in all.',
                 plan.backup.id)
        thread = threading.Thread(
            target=self._start_apart, daemon=True,
            args=(plan.backup.id, turn, go_on))
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            self._threads.discard(thread)
            # There are no threads left: it waits in this one.
            LOG.warning('Backup %(backup)s waits in a thread of RPC: '
                        '%(error)s.',
                        {'backup': plan.backup.id, 'error': error})
            self._start(plan.backup.id, turn, go_on)

    @contextlib.contextmanager
    def turn(self, plan: plans.BackupPlan) -> Iterator[fairness.Turn]:
        """Wait until it is a backup's turn; the body has the window.

        Or none, when it did not come to be: ``refused`` says why.

        :raises NoSlot: the service has to end, and nothing was begun yet.
            Where the driver makes the snapshot, it has begun, and goes on:
            the ceph driver would leave its base image behind
        """
        turn = self._turns.pop(plan.backup.id, None) or self.slots.ask(
            wish_of(plan))
        try:
            try:
                self.slots.wait(turn, *self._patience(plan),
                                functools.partial(_tell, plan.backup.id))
            except exceptions.NoSlot as error:
                if not plan.in_driver:
                    raise
                turn.refused = str(error)
            yield turn
        finally:
            self.slots.leave(turn)

    def _patience(self, plan: plans.BackupPlan) -> tuple[float, str]:
        """Return for how long one may wait, and the option that says so.

        Where the driver makes the snapshot, the transfer waits: it has one of
        ``backup_max_operations``, as restores have.
        """
        if plan.in_driver:
            return self._settings.lock_timeout, 'lock_timeout'
        return self._settings.queue_timeout, 'queue_timeout'

    def stop(self) -> None:
        """Have nobody wait any more: Cinder fails what has to."""
        self.slots.stop()

    def join(self) -> None:
        """Wait until all who had waited have started their backups."""
        for thread in list(self._threads):
            if thread.is_alive():
                thread.join()

    def _start_apart(self, backup: str, turn: fairness.Turn,
                     go_on: Callable[[], object]) -> None:
        try:
            self._start(backup, turn, go_on)
        except Exception as error:
            # As RPC would: Cinder has put the backup to error.
            LOG.error('Backup %s could not be started.', backup,
                      exc_info=plain.error(error))
        finally:
            self._threads.discard(threading.current_thread())

    def _start(self, backup: str, turn: fairness.Turn,
               go_on: Callable[[], object]) -> None:
        try:
            go_on()
        finally:
            # It may have failed before it came to its window.
            if self._turns.get(backup) is turn:
                del self._turns[backup]
            self.slots.leave(turn)


def _tell(backup: str, seconds: float, why: fairness.Obstacle) -> None:
    LOG.info('Backup %(backup)s has waited %(seconds)d s for its turn: '
             '%(why)s.',
             {'backup': backup, 'seconds': seconds, 'why': why.value})


def wish_of(plan: plans.BackupPlan) -> fairness.Wish:
    """Return what a backup's window shares with those of others."""
    wish = attachments.wish_of(plan.volume)
    # What the driver does by itself does not wait for cinder-volume.
    return dataclasses.replace(
        wish, backend=f'{wish.backend} by the backup driver'
    ) if plan.in_driver else wish
