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

Between the seam and the driver above, which say when, and the window below,
which knows nothing of Cinder's objects.
"""

from collections.abc import Iterator
import contextlib
import threading
import time
from typing import Any

from cinder import objects
from oslo_log import log as logging

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup import plain
from cinder_wt_backup.service import attachments
from cinder_wt_backup.service import policy
from cinder_wt_backup.service import process
from cinder_wt_backup.service import recovery
from cinder_wt_backup.service import reporting
from cinder_wt_backup.service import store
from cinder_wt_backup.window import volume as windows

LOG = logging.getLogger(__name__)

CEPH = 'backup.drivers.ceph'
# How often another process's verdict is looked for, seconds.
POLL = 0.5


class Backups:
    """The backups that this process makes.

    :param settings: the ``[write_through]`` section
    """

    def __init__(self, settings: conf.Settings) -> None:
        self._settings = settings
        self._slots = threading.BoundedSemaphore(settings.max_windows)
        self._windows: dict[str, tuple[windows.Window, threading.Event]] = {}

    @contextlib.contextmanager
    def window(self, context: Any, backup: Any,
               volume: Any) -> Iterator[windows.Window | None]:
        """Keep the guests of a volume consistent while the body runs.

        The body has the point in time made and then calls the window's
        ``wait`` or ``covered``. None: there is nothing to do. The verdict is
        on record when this ends; only the body's own errors come out of it.
        """
        window = self._prepared(context, backup, volume)
        if window is None:
            yield None
            return
        done = threading.Event()
        entry = self._entry(backup, window)
        self._windows[backup.id] = window, done
        try:
            with self._slot(window):
                if not reporting.noted(store.opened, context, volume.id,
                                       backup.host, entry):
                    window.give_up('the window could not be put on record')
                window.open()
                yield window
        finally:
            self._finish(context, backup, window, entry)
            del self._windows[backup.id]
            done.set()

    def check(self, volume: Any, backup: Any) -> None:
        """Refuse a backup whose volume has a policy that cannot be read.

        :raises PolicyError: names the value
        """
        if self._is_ours(backup, volume):
            self._policy(volume)

    def point_in_time_passed(self, context: Any, backup: Any) -> None:
        """Have the backup's window closed, wherever it is; wait for that.

        Bounded: by the time that a release takes, here, and by the window's
        lease when another process has it. Taken over when that is gone.
        """
        here = self._windows.get(backup.id)
        if here is not None:
            window, done = here
            window.passed.set()
            done.wait(self._settings.lease)
            return
        while entry := self._open_elsewhere(context, backup):
            if not recovery.lives(entry.process) or entry.lapsed:
                recovery.release(context, objects.Volume.get_by_id(
                    context, backup.volume_id), entry, self._settings)
                return
            time.sleep(POLL)

    def proof(self, context: Any, backup: Any,
              point_in_time: Any = None) -> claims.Claim | None:
        """Return what the backup can claim; None: it is exempt.

        :param point_in_time: a file that has it, to be looked at, if any
        :raises PolicyError: it has to fail, for not reaching what it must
        """
        volume = objects.Volume.get_by_id(context, backup.volume_id)
        if not self._is_ours(backup, volume):
            return None
        wish = self._policy(volume)
        is_live = not (backup.temp_volume_id or backup.temp_snapshot_id
                       or self.happens_in_driver(backup.service, volume))
        found = None if wish.off else reporting.of(
            context, backup, is_live, point_in_time)
        refusal = wish.refuse(found) if found else None
        if refusal:
            raise exceptions.PolicyError(refusal)
        return found

    def happens_in_driver(self, service: str, volume: Any) -> bool:
        """Whether the point in time is made by the backup driver itself.

        So it is where the ceph driver gets a live RBD image (Cinder's
        RBDDriver.get_backup_device).
        """
        return CEPH in service and attachments.driver_type(volume) == 'rbd'

    def recover(self, context: Any, host: str) -> None:
        """Close what was left open; never fails."""
        try:
            recovery.recover(context, host, self._settings)
        except Exception as error:
            # The service has to work all the same, and tries again.
            LOG.error('Windows that were left open cannot be looked for.',
                      exc_info=plain.error(error))

    def _open_elsewhere(self, context: Any,
                        backup: Any) -> store.Entry | None:
        """Return the backup's window, if another process has to close it."""
        entry = store.window_of(context, backup.volume_id)
        if (entry is None or entry.backup != backup.id or store.verdict(
                context, backup.volume_id, backup.id) is not None):
            return None
        return entry

    def _is_ours(self, backup: Any, volume: Any) -> bool:
        return bool(self._settings.methods and not backup.snapshot_id
                    and attachments.in_use(volume))

    def _policy(self, volume: Any) -> policy.Policy:
        return policy.of(volume.metadata, self._settings.required_level)

    def _prepared(self, context: Any, backup: Any,
                  volume: Any) -> windows.Window | None:
        """Return the window to open, if there is one; note if there is none.

        :raises PolicyError: the volume's policy cannot be read
        """
        if not self._is_ours(backup, volume) or self._policy(volume).off:
            return None
        try:
            return windows.Window(
                attachments.locate(context, volume, self._settings),
                self._settings, process.lock,
                lambda token: self._freezes(context, volume, token))
        except exceptions.WriteThroughError as error:
            problem = str(error)
        except Exception as error:
            # No backup fails because looking had trouble.
            LOG.error('Volume %s: unexpected error.', volume.id,
                      exc_info=plain.error(error))
            problem = f'unexpected error: {error}'
        reporting.conclude(context, backup, claims.Claim(
            claims.Level.CRASH, problem))
        return None

    @contextlib.contextmanager
    def _slot(self, window: windows.Window) -> Iterator[None]:
        if not self._slots.acquire(timeout=self._settings.lock_timeout):
            window.give_up(f'max_windows = {self._settings.max_windows} '
                           f'windows were open all the time')
            yield
            return
        try:
            yield
        finally:
            self._slots.release()

    def _entry(self, backup: Any, window: windows.Window) -> store.Entry:
        return store.Entry(
            backup.id, window.token,
            round(time.time() + window.longest_opening + self._settings.lease),
            recovery.this_process())

    @staticmethod
    def _freezes(context: Any, volume: Any, token: str) -> None:
        """Put on record that a guest is about to be frozen.

        :raises WriteThroughError: it cannot be: it must not be frozen
        """
        if not reporting.noted(store.frozen, context, volume.id, token):
            raise exceptions.WriteThroughError(
                'the freeze could not be put on record')

    @staticmethod
    def _finish(context: Any, backup: Any, window: windows.Window,
                entry: store.Entry) -> None:
        proof = window.close()
        reporting.conclude(context, backup,
                           None if window.exempt else proof,
                           entry if window.left_changed else None)
