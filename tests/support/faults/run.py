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


"""One fault in one backup: strike, let go, see that all is well."""

import dataclasses
import os
import random
import time

import openstack

from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.faults import faults
from tests.support.faults import scene as scenes
from tests.support.faults import steps
from tests.support.machines import guests
from tests.support.workload import host

# The lease, what ends it, and what the slowest mend takes.
RECOVERY = scenes.LEASE + 50
# What nothing in the way lets a backup reach; the latter with a barrier.
WHOLE = ('write-through', 'filesystem')


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of one run.

    :ivar changed: how long the guest was changed, in its own seconds
    :ivar seconds: from the strike until it was as before, and mended
    :ivar problem: empty: passed
    """

    fault: str
    step: str
    changed: float = 0.0
    seconds: float = 0.0
    outcome: scenes.Outcome | None = None
    problem: str = ''


def at_step(scene: scenes.Scene, fault: faults.Fault, step: str,
            verify: bool = False) -> Result:
    """Strike while a backup waits at a step.

    :param verify: whether a backup that claims write-through is restored
        and compared
    """
    steps.store_all(verify)
    scene.idle()
    steps.arm(step)
    began = scene.load.status()
    if step == steps.FROZEN and fault.script:
        scene.once_frozen(fault.script)
    backup = scene.backup = scene.request()
    try:
        pid = steps.wait()
    except console.CloudError as error:
        return Result(fault.name, step,
                      problem=f'{error}: {scene.outcome(backup)}')
    return _run(scene, fault, step, pid, began if verify else None, backup)


def at_random(scene: scenes.Scene, chance: random.Random) -> Result:
    """Strike some fault at some moment of a backup."""
    steps.store_all(False)
    scene.idle()
    fault = chance.choice([one for one in faults.FAULTS if one.anytime])
    seconds = chance.uniform(0, 7)
    backup = scene.backup = scene.request()
    time.sleep(seconds)
    pid = chance.choice(_workers())
    return _run(scene, fault, f'{seconds:.2f} s', pid, None, backup)


def _run(scene: scenes.Scene, fault: faults.Fault, step: str, pid: int,
         began: host.Status | None, backup: str) -> Result:
    result = Result(fault.name, step)
    try:
        struck = time.monotonic()
        fault.strike(scene, pid)
        steps.go()
        fault.mend(scene, pid)
        scene.recovered(RECOVERY)
        result = dataclasses.replace(
            result, seconds=time.monotonic() - struck,
            outcome=scene.settled(backup), changed=scene.watch.longest())
        if result.changed > scenes.LEASE + scenes.LATE:
            raise console.CloudError('the guest was changed beyond its lease')
        _check(scene, result.outcome, fault.told)
        if began is not None and result.outcome.level in WHOLE:
            scene.verify(backup, began)
        scene.remove(backup)
        _check_next(scene)
    except (console.CloudError, guests.GuestError,
            openstack.exceptions.SDKException) as error:
        return dataclasses.replace(result, problem=str(error))
    return result


def _check(scene: scenes.Scene, outcome: scenes.Outcome | None,
           told: bool) -> None:
    """See that nothing is left, and that the backup says what it is."""
    scene.recovered(RECOVERY)
    scene.check_record()
    scene.check_writers()
    assert outcome is not None
    if outcome.status == 'error' and told and not outcome.text:
        raise console.CloudError('the backup failed without a reason')
    if outcome.status == 'available' and outcome.level not in WHOLE \
            and not outcome.text:
        raise console.CloudError(f'{outcome.level} without a reason')


def _check_next(scene: scenes.Scene) -> None:
    following = scene.clean()
    if following.status != 'available' or following.level not in WHOLE:
        raise console.CloudError(f'the following backup: {following}')


def _workers() -> list[int]:
    """Return the processes of cinder-backup that serve."""
    parent = cloud.daemon(faults.BACKUP).pid
    with open(f'/proc/{parent}/task/{parent}/children') as children:
        return [int(pid) for pid in children.read().split()
                if _is_worker(int(pid))]


def _is_worker(pid: int) -> bool:
    with open(f'/proc/{pid}/cmdline', 'rb') as line:
        return os.fsencode(faults.BACKUP) in line.read()
