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


"""A step of a window at which cinder-backup is to wait for a test."""

import os

from cinder_wt_backup.steps import Step
from tests.support.cloud import console
from tests.support.cloud import layout

# With a barrier there is one more.
FROZEN = Step.FROZEN.value
# In the order in which a backup comes to them.
ALL = tuple(step.value for step in Step if step is not Step.FROZEN)
# Here the guest is changed, or is being changed.
CHANGED = tuple(step.value for step in (
    Step.STARTING, Step.ENGAGED, Step.CAST, Step.PASSED, Step.RELEASING))

FOLDER = layout.CLOUD / 'faults'
ARMED, REACHED = FOLDER / 'armed', FOLDER / 'reached'
WHOLE = FOLDER / 'whole'


def arm(step: str) -> None:
    """Have the next process that comes to the step wait there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    REACHED.unlink(missing_ok=True)
    _write(ARMED, step)


def wait(timeout: float = 60) -> int:
    """Wait until a process has come to the step; return its pid."""
    console.wait_for('a backup at the step where it is to wait',
                     REACHED.exists, timeout, pause=0.05)
    return int(REACHED.read_text().split()[1])


def go() -> None:
    """Let it go on; from now on nothing waits."""
    for path in (ARMED, REACHED):
        path.unlink(missing_ok=True)


def armed_for(step: str) -> bool:
    """Whether the next process that comes to the step has to wait."""
    try:
        return bool(step) and ARMED.read_text() == step
    except OSError:
        return False


def tell_reached(step: str, pid: int) -> None:
    """Tell that a process waits."""
    _write(REACHED, f'{step} {pid}')
    ARMED.unlink(missing_ok=True)


def store_all(wanted: bool) -> None:
    """Have backups store all their data, not only the first of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    WHOLE.touch() if wanted else WHOLE.unlink(missing_ok=True)


def _write(path: os.PathLike[str], text: str) -> None:
    """Write a file that is there at once, whole."""
    with open(f'{path}.new', 'w') as new:
        new.write(text)
    os.replace(f'{path}.new', path)
