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


"""A stock driver that lets a test stop cinder-backup at a step of a window.

cinder-backup has it as its wrapped driver; importing it puts the breakpoints
into that process, none of them into the plugin's code. A process that comes
to the step that is armed tells so and waits, until it is told to go on or is
gone: see :mod:`tests.support.faults.steps`, which is the other side.
"""

from collections.abc import Callable
import functools
import io
import os
import time
from typing import Any

from cinder.backup.drivers import posix
from cinder.backup import manager

from cinder_wt_backup import steps as declared
from tests.support.faults import steps

PATIENCE = 120
# A backup that nobody restores need not read its GiB.
HEAD = 32 << 20


class PosixBackupDriver(posix.PosixBackupDriver):  # type: ignore[misc]
    """The posix driver, which stores less."""

    def backup(self, backup: Any, volume_file: Any, *args: Any,
               **kwargs: Any) -> Any:
        if not steps.WHOLE.exists():
            volume_file = io.BytesIO(volume_file.read(HEAD))
        return super().backup(backup, volume_file, *args, **kwargs)


def stop_at(step: str) -> None:
    """Tell and wait, if this step is armed."""
    if not steps.armed_for(step):
        return
    steps.tell_reached(step, os.getpid())
    end = time.monotonic() + PATIENCE
    while steps.REACHED.exists() and time.monotonic() < end:
        time.sleep(0.05)


def _stop_at_steps() -> None:
    original = declared.reached

    @functools.wraps(original)
    def reached(step: declared.Step, where: str) -> None:
        original(step, where)
        stop_at(step.value)
    declared.reached = reached


def _publish_when_ready() -> None:
    """Tell the scheduler at once that the driver is there, not in 10 s."""
    original: Callable[..., Any] = manager.BackupManager._setup_backup_driver

    @functools.wraps(original)
    def setting_up(self: Any, context: Any) -> Any:
        try:
            return original(self, context)
        finally:
            self.publish_service_capabilities(context)
    manager.BackupManager._setup_backup_driver = setting_up


_stop_at_steps()
_publish_when_ready()
