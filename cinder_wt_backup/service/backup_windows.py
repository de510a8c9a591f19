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

"""One backup of a volume in use: from Cinder's objects to a window and back.

Between the hooks and the driver above, which say when, and the window below,
which knows nothing of Cinder's objects.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import threading
import time

from cinder import context as contexts
from cinder import objects
from oslo_log import log as logging

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.ondisk import reader
from cinder_wt_backup import plain
from cinder_wt_backup.service import ended_early
from cinder_wt_backup.service import fairness
from cinder_wt_backup.service import owners
from cinder_wt_backup.service import plan as plans
from cinder_wt_backup.service import preparation
from cinder_wt_backup.service import queue
from cinder_wt_backup.service import record
from cinder_wt_backup.service import recovery
from cinder_wt_backup.service import release
from cinder_wt_backup.service import reporting
from cinder_wt_backup.service import store
from cinder_wt_backup import steps
from cinder_wt_backup.window import volume as windows

LOG = logging.getLogger(__name__)

# How often another process's claim is looked for, seconds.
POLL = 0.5


class Backups:
    """The backups that this process makes.

    :param settings: the ``[write_through]`` section
    :ivar queue: those that wait for their turn
    :ivar recovery: of what other processes left open
    """

    def __init__(self, settings: conf.Settings) -> None:
        self._settings = settings
        self.queue = queue.Queue(settings)
        self.recovery = recovery.Recovery(settings)
        self._windows: dict[str, tuple[windows.Window, threading.Event]] = {}
        self._ended_early = ended_early.EndedEarly()

    def plan(self, backup: objects.Backup, volume: objects.Volume,
             driver: str = '') -> plans.BackupPlan:
        """Return what is to be done for a backup.

        :param driver: the backup driver, where the backup does not have it yet
        :raises PolicyError: the volume has a policy that cannot be read
        """
        return plans.make_plan(backup, volume, self._settings, driver)

    @contextlib.contextmanager
    def window(self, context: contexts.RequestContext,
               plan: plans.BackupPlan) -> Iterator[windows.Window | None]:
        """Keep the guests of a volume consistent while the body runs.

        The body has the point in time made and then calls the window's
        ``wait`` or ``cover``. None: there is nothing to do. The claim is on
        record when this ends; only the body's own errors come out of it.

        These two only where cinder-volume makes the snapshot, and before the
        body was run:

        :raises NoSlot: the service has to end
        :raises BackupGone: nobody wants the backup any more
        """
        if not plan.has_window:
            yield None
            return
        with self.queue.turn(plan) as turn:
            if turn.waited and not plan.in_driver:
                plan = preparation.as_it_is_now(context, plan)
            window = preparation.prepare(context, plan, self._settings)
            if window is None:
                self.queue.slots.note_cast(turn)
                yield None
                self.queue.slots.note_passed(turn, fairness.Seen.UNWATCHED)
                return
            with self._opened(context, plan.backup, window, turn):
                yield window

    @contextlib.contextmanager
    def _opened(self, context: contexts.RequestContext,
                backup: objects.Backup, window: windows.Window,
                turn: fairness.Turn) -> Iterator[None]:
        """Keep a window open while the body runs."""
        done = threading.Event()
        self._windows[backup.id] = window, done
        seen = fairness.Seen.UNKNOWN
        try:
            if turn.refused:
                window.give_up(turn.refused)
            self._put_on_record(context, backup, window)
            window.open()
            self.queue.slots.note_cast(turn)
            yield
            seen = _seen(window)
        finally:
            try:
                self.queue.slots.note_passed(turn, seen)
                self._close(context, backup, window)
            except Exception as error:
                # No memory, no thread, a bug: the cast is out, and the backup
                # goes on without what was not seen to have worked.
                LOG.error('The window of backup %s was not closed as it '
                          'should be.', backup.id, exc_info=plain.error(error))
                store.attempt(
                    _record_end, context, backup.volume_id, backup.id, window,
                    claims.Claim(claims.Level.CRASH,
                                 f'unexpected error: {error}'), True)
            finally:
                # Who waits for it is always told.
                self._windows.pop(backup.id, None)
                done.set()

    def close_window(self, context: contexts.RequestContext,
                     backup: objects.Backup) -> None:
        """Have the backup's window closed, wherever it is; wait for that.

        Bounded: by the time that a release takes, here, and by the window's
        lease when another process has it. Taken over when that is gone.
        """
        # Its snapshot is made: nobody writes the record back any more.
        self._ended_early.see_to(context, backup.id, last=True)
        here = self._windows.get(backup.id)
        if here is not None:
            window, done = here
            window.passed.set()
            done.wait(self._settings.lease)
            return
        while found := self._open_elsewhere(context, backup):
            if owners.is_gone(found.owner) or found.lapsed:
                release.release(context, objects.Volume.get_by_id(
                    context, backup.volume_id), found, self._settings)
                return
            time.sleep(POLL)

    def look_after(self, context: contexts.RequestContext,
                   host: str) -> None:
        """See to what was left open; never fails.

        :param host: this host, as cinder-backup calls it
        """
        self._ended_early.see_to_all(context)
        self.recovery.begin(context, host)

    def claim(self, context: contexts.RequestContext,
              plan: plans.BackupPlan,
              content: reader.File | None = None
              ) -> claims.Claim | None:
        """Return what the backup claims, once that is told; None: nothing.

        :param content: a file of the point in time, to be looked at, if any
        :raises PolicyError: it has to fail, for not reaching what it must
        """
        if plan.policy is None or plan.policy.off:
            return None
        found = reporting.final_claim(context, plan, content)
        if found is None:
            return None
        reporting.publish(context, plan.backup, found)
        refusal = plan.policy.refuse(found)
        if refusal:
            raise exceptions.PolicyError(refusal)
        return found

    def _open_elsewhere(self, context: contexts.RequestContext,
                        backup: objects.Backup) -> record.OpenWindow | None:
        """Return the backup's window, if another process has to close it."""
        found = store.window_of(context, backup.volume_id)
        if found is None or found.backup != backup.id or store.claim_of(
                context, backup.volume_id, backup.id):
            return None
        return found

    def _put_on_record(self, context: contexts.RequestContext,
                       backup: objects.Backup,
                       window: windows.Window) -> None:
        ends = round(time.time() + window.longest_opening
                     + self._settings.lease)
        steps.reached(steps.Step.REQUESTED, window.token)
        if store.attempt(_record_start, context, backup.volume_id, backup,
                         window, ends):
            steps.reached(steps.Step.RECORDED, window.token)
        else:
            window.give_up('the window could not be put on record')

    def _close(self, context: contexts.RequestContext,
               backup: objects.Backup, window: windows.Window) -> None:
        claim = window.close()
        LOG.info('The window of backup %(backup)s on volume %(volume)s has '
                 'closed after %(ms)d ms.',
                 {'backup': backup.id, 'volume': backup.volume_id,
                  'ms': claim.window_ms})
        told = None if window.exempt else claim
        if window.late:
            self._ended_early.note(backup.id, backup.volume_id, window.token,
                                   told, window.left_changed)
        if store.attempt(_record_end, context, backup.volume_id, backup.id,
                         window, told, window.left_changed):
            steps.reached(steps.Step.CLOSED, window.token)


def _seen(window: windows.Window) -> fairness.Seen:
    """Return what the end of a window says of the back end."""
    if not window.engaged:
        return fairness.Seen.UNWATCHED
    if window.late:
        return fairness.Seen.LATE
    return fairness.Seen.MADE if window.covered else fairness.Seen.UNKNOWN


def _record_start(context: contexts.RequestContext, volume: str,
                  backup: objects.Backup, window: windows.Window, ends: float
                  ) -> None:
    store.open_window(context, volume, record.OpenWindow(
        backup.host, backup.id, window.token, ends, owners.this_process()))


def _record_end(context: contexts.RequestContext, volume: str, backup: str,
                window: windows.Window, claim: claims.Claim | None,
                left_changed: bool) -> None:
    store.close_window(context, volume, window.token,
                       record.StoredClaim(backup, claim), left_changed)
