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


"""One case on a real guest: a window, the point in time, and its copy."""

import contextlib
import dataclasses
import pathlib

import libvirt

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.claims import metadata
from cinder_wt_backup.guest import reach
from cinder_wt_backup import ondisk
from cinder_wt_backup.service import process
from cinder_wt_backup.window import volume as windows
from tests.support.cloud import console
from tests.support.machines import guests
from tests.support.machines import live_machine
from tests.support.machines import machine as machines
from tests.support.machines import plugin
from tests.support.matrix import cases
from tests.support.matrix import states
from tests.support.workload import host


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a case.

    :ivar verified: what the point in time showed
    :ivar stall_ms: the longest write(2) in the window, if writers ran
    :ivar problem: empty: all as it has to be
    """

    case: cases.Case
    proof: claims.Claim | None = None
    verified: str = ''
    stall_ms: float | None = None
    problem: str = ''


def run(machine: live_machine.LiveMachine, case: cases.Case) -> Result:
    """Run a case; leave the guest as it was."""
    result = Result(case)
    try:
        if case.agent:
            _restart_agent(machine, *case.agent)
        with contextlib.ExitStack() as stack:
            result = _run(_Row(machine, case, stack), result)
            return dataclasses.replace(result, problem=_objection(result))
    except (AssertionError, console.CloudError, guests.GuestError,
            libvirt.libvirtError) as error:
        return dataclasses.replace(result, problem=str(error))
    finally:
        if case.agent:
            _restart_agent(machine)


def _restart_agent(machine: machines.Machine, *lines: str) -> None:
    """Start the guest's agent again with these lines in its service."""
    old = machine.shell('pidof qemu-ga')
    service = '\\n'.join(('[Service]', *lines))
    machine.shell(
        'mkdir -p /run/systemd/system/qemu-guest-agent.service.d; '
        f'printf "{service}\\n" >/run/systemd/system/qemu-guest-agent.'
        'service.d/matrix.conf; systemd-run -q sh -c "sleep 3; systemctl '
        'daemon-reload; systemctl restart qemu-guest-agent"')
    console.wait_for('another guest agent',
                     lambda: machine.shell('pidof qemu-ga') != old, 60,
                     failed=(guests.GuestError,))


class _Row:
    """A guest with the volumes of a case."""

    def __init__(self, machine: live_machine.LiveMachine, case: cases.Case,
                 stack: contextlib.ExitStack) -> None:
        self.machine, self.case, self._stack = machine, case, stack
        # Those that cannot be plugged are there always.
        there = dict.fromkeys(machines.COLD, machine.cold)
        there['root'] = machine.boot_volume
        self._there = there.get(case.bus)
        self.disks = ([self._there] if self._there is not None else
                      [self._attach() for _ in range(case.volumes)])
        self._shell(case.make)

    def up(self) -> contextlib.ExitStack:
        """Make it usable; undone when the stack that is returned is left."""
        self._shell(self.case.up)
        used = self._stack.enter_context(contextlib.ExitStack())
        used.callback(self._shell, self.case.down)
        return used

    def restore(self, snapshot: pathlib.Path) -> None:
        """Have the point in time in the first volume's place."""
        if self._there is None:
            self.machine.detach(self.disks[0])
        self.disks[0] = self._attach(snapshot)

    def _attach(self, content: pathlib.Path | None = None) -> machines.Disk:
        disk = self.machine.add_disk(
            content, 'virtio' if self._there else self.case.bus)

        def detach() -> None:
            if disk in self.disks:
                self.machine.detach(disk)
        self._stack.callback(detach)
        return disk

    def _shell(self, script: str) -> None:
        names = ' '.join(f'/dev/{disk.name}' for disk in self.disks)
        self.machine.shell(f'set -- {names}; device=$1; {script}', 120)


def _run(row: _Row, result: Result) -> Result:
    with row.up() as used:
        load = _writers(row) if row.case.written else None
        if load:
            used.callback(load.stop)
        before = _state(row)
        began = load.status() if load else None
        proof, snapshot = _window(row)
        stall = (load.status(began.now_ns).longest_since_ms
                 if load and began else None)
        with snapshot.open('rb') as file:
            seen = ondisk.summary(ondisk.look(file)).value
        result = dataclasses.replace(result, proof=proof, verified=seen,
                                     stall_ms=stall)
        if _state(row) != before:
            raise console.CloudError('the guest is not as it was')
    if load and began and proof.level > claims.Level.FLUSHED:
        row.restore(snapshot)
        with row.up():
            _check(row, load, began)
    return result


def _state(row: _Row) -> str:
    """Return what has to be the same afterwards."""
    guest = row.machine.guest
    # Ids of mounts are others after every boot.
    return guest.left() if row.case.reboots else guest.state()


def _writers(row: _Row) -> host.Workload:
    load = host.Workload(row.machine.guest, cases.POINT)
    load.start(records_per_second=50, rows_per_second=1)
    return load


def _window(row: _Row) -> tuple[claims.Claim, pathlib.Path]:
    disk = row.disks[0]
    with states.STATES[row.case.state](row.machine) as during:
        window = windows.Window(
            [reach.Target(disk.volume, machines.PROJECT,
                          row.machine.instance, during.uris)],
            plugin.settings(barrier='freeze' if row.case.barrier else 'none',
                            methods=list(row.case.methods), lock_timeout=5),
            process.lock)
        window.open()
        try:
            snapshot = disk.snapshot()
            window.cover()
            during.act()
        finally:
            proof = window.close()
    return proof, snapshot


def _check(row: _Row, load: host.Workload, began: host.Status) -> None:
    lacks = host.missing(row.machine.guest, cases.POINT, load.promise(began))
    if lacks:
        raise console.CloudError(f'the copy lacks something: {lacks}')


def _objection(result: Result) -> str:
    """Return what is not as the case has it; empty: nothing."""
    case, proof = result.case, result.proof
    assert proof is not None
    found = metadata.of_claim(proof).get('wt:filesystems', '')
    for what, is_now, wanted in (
            ('level', proof.level.value, case.level),
            ('file systems', found, case.filesystems),
            ('verified', result.verified,
             case.verified or result.verified)):
        if is_now != wanted:
            return f'{what}: {is_now}, not {wanted} ({proof.reason})'
    if case.reason not in proof.reason or bool(proof.reason) != bool(
            case.reason):
        return f'reason: {proof.reason!r}, not {case.reason!r}'
    return ''
