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


"""What can happen to a backup while its window is open.

Each fault is struck while cinder-backup waits at a step (``pid`` waits there)
or at a random moment (``pid`` is one of its processes), and mended after it
was let go.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import json
import os
import signal
import threading
import time

import libvirt
import openstack

from tests.support.cloud import cloud
from tests.support.cloud import console
from tests.support.cloud import layout
from tests.support.cloud import process
from tests.support.faults import scene as scenes
from tests.support.faults import steps
from tests.support.machines import guests

BACKUP = 'cinder-backup'
# Longer than one answer of the agent is waited for.
SILENCE = 10
BEFORE_THE_CAST = ('requested', 'recorded', 'starting', 'engaged')
ALL = steps.ALL

Act = Callable[[scenes.Scene, int], None]


def nothing(_scene: scenes.Scene, _pid: int) -> None:
    """It mends itself."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    :ivar strike: what is done at the step
    :ivar mend: what an operator does, or what happens anyway, after it
    :ivar steps: where it makes sense
    :ivar anytime: whether a random moment will do as well
    :ivar told: whether a backup that fails by it says why: Cinder's reset
        does not
    :ivar script: what strikes, if it is a program in the guest; a frozen guest
        starts none, so there it waits for the freeze
    """

    name: str
    strike: Act
    mend: Act = nothing
    steps: tuple[str, ...] = ALL
    anytime: bool = False
    told: bool = True
    script: str = ''

    @property
    def frozen(self) -> tuple[str, ...]:
        """The step of a frozen guest, if it makes sense there."""
        return (steps.FROZEN,) if 'engaged' in self.steps else ()


def kill_service(name: str) -> None:
    """End a service of the cloud, and its children, without a warning."""
    daemon = cloud.daemon(name)
    if pid := daemon.pid:
        os.killpg(pid, signal.SIGKILL)
        # Its threads may outlive it for a moment, with its port.
        console.wait_for(f'the end of {name}', lambda: not (
            daemon.pid or name in layout.PORTS and layout.listens(name)), 30)


def _kill_service(name: str) -> Act:
    return lambda _scene, _pid: kill_service(name)


def _start_service(name: str) -> Act:
    def mend(_scene: scenes.Scene, _pid: int) -> None:
        cloud.up([name])
    return mend


def _signal_service(name: str, number: int) -> Act:
    def strike(_scene: scenes.Scene, _pid: int) -> None:
        pid = cloud.daemon(name).pid
        if pid:
            os.kill(pid, number)
    return strike


def _kill_worker(_scene: scenes.Scene, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _start_backup(scene: scenes.Scene, _pid: int) -> None:
    scene.restart_backup()


def _start_backup_after_the_lease(scene: scenes.Scene, pid: int) -> None:
    # The watch in the guest has to see that the lease was enough. The agent of
    # a guest that thawed itself takes it for frozen until somebody thaws it.
    time.sleep(scenes.LEASE + 2 * scenes.LATE)
    _start_backup(scene, pid)


def _start_libvirt(scene: scenes.Scene, _pid: int) -> None:
    cloud.up(['libvirtd'])
    scene.reconnect()


def _start_backup_once_put_back(scene: scenes.Scene, pid: int) -> None:
    """Let the other workers and the new one put back; then start afresh.

    When stock Cinder starts a worker again it resets the volume also of a
    backup that another worker is still storing, whose end then spoils the
    next one's previous_status.
    """
    scene.recovered(scenes.LEASE)
    _start_backup(scene, pid)


def _silence_libvirt(seconds: float) -> Act:
    def strike(_scene: scenes.Scene, _pid: int) -> None:
        if pid := cloud.daemon('libvirtd').pid:
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(seconds, os.kill, (pid, signal.SIGCONT)).start()
    return strike


def _in_guest(name: str, script: str, mend: Act, *where: str) -> Fault:
    def strike(scene: scenes.Scene, _pid: int) -> None:
        # What it does to the agent may keep that from answering.
        with contextlib.suppress(guests.GuestError):
            scene.guest.spawn('sh', '-c', script)
        time.sleep(1.5)
    return Fault(name, strike, mend, where or ALL, not where, script=script)


def _await_agent(scene: scenes.Scene, _pid: int) -> None:
    scene.guest.wait(60)


def _pause(scene: scenes.Scene, _pid: int) -> None:
    scene.guest.domain.suspend()

    def resume() -> None:
        with contextlib.suppress(libvirt.libvirtError):
            scene.guest.domain.resume()
    threading.Timer(SILENCE, resume).start()


def _reboot(scene: scenes.Scene, _pid: int) -> None:
    scene.guest.domain.reset()


def _after_boot(scene: scenes.Scene, _pid: int) -> None:
    time.sleep(2)
    scene.guest.wait(120)
    scene.prepare()


def _shut_off(scene: scenes.Scene, _pid: int) -> None:
    scene.shut_off()


def _delete(scene: scenes.Scene, _pid: int) -> None:
    with contextlib.suppress(openstack.exceptions.SDKException):
        scene.storage.delete_backup(scene.backup, force=True)


def _reset(scene: scenes.Scene, _pid: int) -> None:
    scene.storage.reset_backup_status(scene.backup, 'error')


def _rbd(scene: scenes.Scene, *command: str, snapshot: str = '') -> str:
    return console.output(
        'rbd', *command, f'volumes/volume-{scene.volume}{snapshot}',
        env=process.ENVIRONMENT)


def _permit_no_snapshot(scene: scenes.Scene, _pid: int) -> None:
    # A limit of 0 is none.
    _rbd(scene, 'snap', 'create', '--no-progress', snapshot='@last')
    there = json.loads(_rbd(scene, 'snap', 'ls', '--all', '--format', 'json'))
    _rbd(scene, 'snap', 'limit', 'set', '--limit', str(len(there)))


def _permit_snapshots(scene: scenes.Scene, _pid: int) -> None:
    time.sleep(int(scenes.OPTIONS['window_timeout']) + 5)
    _rbd(scene, 'snap', 'limit', 'clear')
    _rbd(scene, 'snap', 'rm', '--no-progress', snapshot='@last')
    # Stock cinder-volume hangs in librbd once a clone of its has failed.
    kill_service('cinder-volume')
    cloud.up(['cinder-volume'])


def _start_volume_after_the_window(_scene: scenes.Scene, _pid: int) -> None:
    time.sleep(int(scenes.OPTIONS['window_timeout']) + 5)
    cloud.up(['cinder-volume'])


def _start_rabbitmq(scene: scenes.Scene, _pid: int) -> None:
    cloud.up(['rabbitmq'])
    # Services look for it again every few seconds.
    time.sleep(10)
    scene.await_nova()


def _remount_back(scene: scenes.Scene, _pid: int) -> None:
    console.wait_for('a guest that is not frozen',
                     lambda: scene.guest.permits('guest-exec'), 60)
    time.sleep(1)
    scene.guest.run('mount', '-o', 'remount,dev', scenes.disk.MOUNT)


_KILL_AGENT = 'kill -9 $(pidof qemu-ga)'
_STOP_AGENT = (f'a=$(pidof qemu-ga); kill -STOP $a; sleep {SILENCE}; '
               f'kill -CONT $a')

FAULTS = (
    Fault('nothing', nothing, anytime=True),
    Fault('cinder-backup killed', _kill_service(BACKUP), _start_backup,
          anytime=True),
    Fault('host gone until the lease ended', _kill_service(BACKUP),
          _start_backup_after_the_lease, steps.CHANGED),
    Fault('worker killed', _kill_worker, _start_backup_once_put_back,
          anytime=True),
    Fault('cinder-backup SIGTERM', _signal_service(BACKUP, signal.SIGTERM),
          _start_backup, anytime=True),
    Fault('cinder-backup SIGHUP', _signal_service(BACKUP, signal.SIGHUP),
          anytime=True),
    Fault('libvirtd killed', _kill_service('libvirtd'),
          _start_libvirt, anytime=True),
    Fault('libvirtd silent', _silence_libvirt(SILENCE), anytime=True),
    Fault('libvirtd silent beyond the lease',
          _silence_libvirt(scenes.LEASE + 5), steps=steps.CHANGED),
    _in_guest('agent killed', _KILL_AGENT, _await_agent),
    _in_guest('agent silent', _STOP_AGENT, _await_agent),
    Fault('guest paused', _pause, _await_agent, anytime=True),
    Fault('guest reset', _reboot, _after_boot,
          ('starting', 'engaged', 'passed')),
    Fault('guest shut off', _shut_off, _after_boot,
          ('starting', 'engaged', 'passed')),
    _in_guest('remounted by the admin',
              f'mount -o remount,nodev {scenes.disk.MOUNT}', _remount_back,
              'engaged', 'passed'),
    # Past all that a release tries by itself.
    _in_guest('frozen by the admin', f'fsfreeze -f {scenes.disk.MOUNT}; '
              f'sleep {SILENCE}; fsfreeze -u {scenes.disk.MOUNT}', nothing,
              'starting', 'engaged', 'passed', 'releasing'),
    Fault('MariaDB killed', _kill_service('mariadb'),
          _start_service('mariadb')),
    Fault('RabbitMQ killed', _kill_service('rabbitmq'), _start_rabbitmq),
    Fault('cinder-volume killed', _kill_service('cinder-volume'),
          _start_volume_after_the_window, BEFORE_THE_CAST),
    Fault('snapshot fails', _permit_no_snapshot, _permit_snapshots,
          BEFORE_THE_CAST),
    Fault('backup force-deleted', _delete),
    Fault('backup reset', _reset, told=False),
)
