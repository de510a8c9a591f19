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


"""Windows that were left open: whose they are, and closing them.

A window belongs to the process that opened it for as long as that lives. What
a process of this host left is released as soon as it is seen to be gone. What
another host left is released once that host is down: a freeze at once, the
rest after its lease, when the guest has put itself back anyway.
"""

from __future__ import annotations

from collections.abc import Container
import contextlib
import dataclasses
import threading
import time

from cinder import context as contexts
from cinder import coordination
from cinder import objects
from oslo_log import log as logging
from tooz import locking

from cinder_wt_backup import conf
from cinder_wt_backup.guest import deadline
from cinder_wt_backup import plain
from cinder_wt_backup.service import owners
from cinder_wt_backup.service import record
from cinder_wt_backup.service import release
from cinder_wt_backup.service import store

LOG = logging.getLogger(__name__)

BINARY = 'cinder-backup'
LOCK = 'wt-backup-recovery'
# Of a round: how many are released at once, and after how many seconds no
# further one is begun.
SIDE_BY_SIDE = 8
ROUND = 60
# Seconds until one that could not be released is tried again, at first and at
# the most, and until it is given up once its lease has ended.
FIRST_PAUSE, LAST_PAUSE = 5, 600
GIVE_UP, LEAST_TRIES = 86400, 5
_Left = tuple['objects.Volume', record.OpenWindow]


class Recovery:
    """Closes what was left open, beside whatever the process does.

    One process of a host does it, as long as it lives.

    :param settings: the ``[write_through]`` section
    """

    def __init__(self, settings: conf.Settings) -> None:
        self._settings = settings
        self._lock: locking.Lock | None = None
        self._ended = False
        self._round: threading.Thread | None = None
        self._tries: dict[str, _Tries] = {}     # by the window's token

    def begin(self, context: contexts.RequestContext, host: str) -> None:
        """Look what was left open, and close it in the background.

        Does nothing while it is at it, or another worker is. Never fails: the
        service has to work all the same, and tries again.

        :param host: this host, as cinder-backup calls it
        """
        try:
            if self._ended or self.is_at_it or not self._is_mine(host):
                return
            down = _hosts_down(context)
            left = [(volume, window)
                    for volume, window in store.left_open(context)
                    if window.host in (host, *down)
                    and _is_abandoned(window, host, down)]
            self._tries = {token: tries for token, tries in self._tries.items()
                           if any(token == window.token for _, window in left)}
            due = [each for each in left if self._is_due(each[1])]
            if due:
                self._start(context, due)
        except Exception as error:
            LOG.error('Windows that were left open cannot be looked for.',
                      exc_info=plain.error(error))

    @property
    def is_at_it(self) -> bool:
        """Whether windows are being closed."""
        return self._round is not None and self._round.is_alive()

    def join(self) -> None:
        """Wait until it is not at it."""
        if self._round is not None:
            self._round.join()

    def end(self) -> None:
        """Leave it to another process: this one ends."""
        self._ended = True
        lock, self._lock = self._lock, None
        try:
            if lock is not None:
                lock.release()
        except Exception as error:
            # Of whatever back end: the service has to end all the same.
            LOG.warning('The lock of recovery was not released.',
                        exc_info=plain.error(error))

    def _is_mine(self, host: str) -> bool:
        """Whether this process does it for its host."""
        if self._lock is None:
            lock = coordination.COORDINATOR.get_lock(f'{LOCK}-{host}')
            if lock.acquire(blocking=False):
                # If it is lost, as one of etcd's may be, two do it: each guest
                # has a lock of its own.
                self._lock = lock
        return self._lock is not None

    def _is_due(self, window: record.OpenWindow) -> bool:
        tries = self._tries.get(window.token)
        return tries is None or time.monotonic() >= tries.again

    def _start(self, context: contexts.RequestContext,
               due: list[_Left]) -> None:
        LOG.warning('%d windows were left open by processes that are gone, or '
                    'that could not close them; they are released.', len(due))
        # What may be frozen first: they are taken from the end.
        due.sort(key=lambda each: each[1].may_be_frozen)
        self._round = threading.Thread(
            target=self._run, args=(context, due), daemon=True)
        self._round.start()

    def _run(self, context: contexts.RequestContext,
             due: list[_Left]) -> None:
        """Release some side by side, for as long as one round may take."""
        end = deadline.Deadline(ROUND)
        helpers = []
        with contextlib.suppress(RuntimeError):
            # With no threads left this one does it alone.
            for _ in range(min(SIDE_BY_SIDE, len(due)) - 1):
                helper = threading.Thread(target=self._release_some,
                                          daemon=True,
                                          args=(context, due, end))
                helper.start()
                helpers.append(helper)
        self._release_some(context, due, end)
        for helper in helpers:
            helper.join()
        if due:
            LOG.warning('%d windows are left for the next time, since the '
                        'others took %d s.', len(due), ROUND)

    def _release_some(self, context: contexts.RequestContext,
                      due: list[_Left], end: deadline.Deadline) -> None:
        while end.left:
            try:
                volume, window = due.pop()
            except IndexError:
                return
            self._release_one(context, volume, window)

    def _release_one(self, context: contexts.RequestContext,
                     volume: objects.Volume,
                     window: record.OpenWindow) -> None:
        try:
            # Others may have closed it since it was looked for.
            if not store.is_open(context, volume.id, window.token) or (
                    release.release(context, volume, window, self._settings)
                    is not release.Released.ON_RECORD):
                return
        except Exception as error:
            LOG.error('Volume %s cannot be looked at.', volume.id,
                      exc_info=plain.error(error))
        tries = self._tries.setdefault(window.token, _Tries())
        tries.put_off()
        if tries.count >= LEAST_TRIES and time.time() > window.ends + GIVE_UP:
            release.give_up(context, volume, window)


@dataclasses.dataclass
class _Tries:
    """How often a window could not be released, and when it is tried again.

    :ivar again: on this process's clock, seconds
    """

    count: int = 0
    again: float = 0.0

    def put_off(self) -> None:
        self.again = time.monotonic() + min(
            FIRST_PAUSE * 2 ** self.count, LAST_PAUSE)
        self.count += 1


def is_abandoned(context: contexts.RequestContext, window: record.OpenWindow,
                 host: str) -> bool:
    """Whether nobody will close a window, unless we do.

    :param host: this host, as cinder-backup calls it
    """
    return _is_abandoned(window, host, _hosts_down(context))


def _is_abandoned(window: record.OpenWindow, host: str,
                  down: Container[str]) -> bool:
    if window.lapsed:
        return True
    if window.host == host:
        return owners.is_gone(window.owner)
    # What is not frozen its guest puts back anyway.
    return window.may_be_frozen and window.host in down


def _hosts_down(context: contexts.RequestContext) -> list[str]:
    """Return the hosts whose cinder-backup is down, as Cinder sees it."""
    services = objects.ServiceList.get_all(
        context, {'binary': BINARY, 'is_up': False})
    return [service.host for service in services]
