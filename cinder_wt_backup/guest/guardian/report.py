#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""What the program in the guest reports: read field by field.

A report is the guest's word, and the guest is hostile: each field is of its
type, bounded and one of the words that ``inside/protocol.py`` has, or the
whole report is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import re
from typing import TypeVar

from oslo_serialization import jsonutils

from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import filesystems
from cinder_wt_backup.guest.guardian import fields
from cinder_wt_backup.guest.guardian.inside import protocol

# Longer reports are no guardian's.
MAX_TEXT = 1 << 20
_NUMBER = re.compile(r'[0-9]{1,6}:[0-9]{1,8}')
_KIND = re.compile(r'[A-Za-z0-9_.+-]{1,32}')
_POINT = re.compile(r'(/.{0,4096})?', re.DOTALL)
_ACT = re.compile(r'[a-z]{1,16}')
_ERROR = re.compile(r'[A-Za-z0-9]{1,32}')
_KERNEL = re.compile(r'(\d{1,4})\.(\d{1,4})', re.ASCII)
# Before it, write(2) looks at the flag when it begins.
DRAINS_BY_ITSELF = (6, 0)

_Made = TypeVar('_Made')


@dataclasses.dataclass(frozen=True)
class Mount:
    """A file system of the volume that is mounted somewhere in the guest.

    :ivar number: ``major:minor`` of its superblock
    """

    number: str
    kind: str
    mountpoint: str


@dataclasses.dataclass(frozen=True)
class Started(Mount):
    """A file system as a start left it.

    :ivar own: the path was seen to lead to it where the agent is
    :ivar barrier: its device's cache is flushed when it has to be
    :ivar flushed: what was dirty in it is written
    :ivar errors: by what could not be done, the kernel's name for why
    :ivar changed: options that are not as before, with ``-`` or ``+``
    """

    state: protocol.State
    own: bool
    barrier: bool
    flushed: bool
    pulse: protocol.Pulse
    errors: Mapping[str, str]
    changed: tuple[str, ...]

    @property
    def drained(self) -> bool:
        """Whether writers that began before the flag are through."""
        return self.pulse == protocol.Pulse.DONE

    @property
    def frozen(self) -> bool:
        """Whether somebody's freeze kept it from getting the flag."""
        return self.errors.get('engage') == 'EBUSY'


@dataclasses.dataclass(frozen=True)
class Ended(Mount):
    """A file system as a release found and left it.

    :ivar was: its state before it was undone
    :ivar own: as of a start
    :ivar changed: options that are not as before, with ``-`` or ``+``
    :ivar thawed: a freeze was overdue, and ended by the guest itself
    """

    was: protocol.State
    own: bool
    changed: tuple[str, ...]
    undo: protocol.Undo
    thawed: bool

    @property
    def stuck(self) -> bool:
        """Whether a flag of ours was not seen to be gone."""
        return self.undo not in protocol.SAFE


@dataclasses.dataclass(frozen=True)
class Start:
    """What a start reports.

    :ivar armed: the guest ends a freeze that is overdue, from now on
    :ivar mounts: what is mounted at its end
    :ivar remarks: of its remarks
    :ivar drains: this kernel drains writers in progress by itself
    :ivar dirty_kb: what was dirty in the guest at first
    """

    filesystems: tuple[Started, ...]
    mounts: tuple[Mount, ...]
    remarks: frozenset[protocol.Remark]
    armed: bool
    drains: bool
    dirty_kb: int

    @property
    def unflagged(self) -> bool:
        """Whether one lacks the flag for want of a way to set it.

        And not because somebody froze it: then nothing can be frozen either.
        """
        efi = filesystems.by_freeze(self.filesystems).efi
        return not self.frozen and any(
            fs.state == protocol.State.WRITABLE and fs not in efi
            for fs in self.filesystems)

    @property
    def frozen(self) -> bool:
        """Whether somebody else has frozen one."""
        return any(fs.frozen for fs in self.filesystems)


@dataclasses.dataclass(frozen=True)
class End:
    """What a release reports.

    :ivar mounts: what is mounted after it was undone
    :ivar remarks: of its remarks
    """

    filesystems: tuple[Ended, ...]
    mounts: tuple[Mount, ...]
    remarks: frozenset[protocol.Remark]

    @property
    def stuck(self) -> list[Ended]:
        """Return what was not seen to be undone: to be tried again."""
        return [fs for fs in self.filesystems if fs.stuck]


def read(text: str) -> dict[str, object]:
    """Return a report's fields, unchecked but for version and form.

    :raises GuardianError: it is no report of this version
    """
    if len(text) > MAX_TEXT:
        raise fields.refused('its length')
    try:
        value = jsonutils.loads(text)
    except (ValueError, RecursionError) as error:
        raise fields.refused('its form') from error
    if not isinstance(value, dict) or type(value.get('version')) is not int:
        raise fields.refused('its form')
    if value['version'] != protocol.VERSION:
        raise exceptions.GuardianError(
            'the program in the guest is of another version')
    return value


def reason(report: Mapping[str, object]) -> str:
    """Return why a command ended as it did, in the guest's words."""
    return fields.text_of(report.get('reason', ''), 'reason')


def started(report: Mapping[str, object]) -> Start:
    """Read the report of a start.

    :raises GuardianError: it is none
    """
    found = fields.Fields(report, {
        'version', 'status', 'token', 'reason', 'kernel', 'disk', 'ms',
        'dirty_kb', 'armed', 'remarks', 'mounts', 'filesystems'})
    kernel = _KERNEL.match(found.text('kernel'))
    return Start(
        filesystems=_each(found, _started),
        mounts=_mounts(found),
        remarks=found.words('remarks', protocol.Remark),
        armed=found.flag('armed'),
        drains=kernel is not None and (
            int(kernel[1]), int(kernel[2])) >= DRAINS_BY_ITSELF,
        dirty_kb=found.number('dirty_kb'))


def ended(report: Mapping[str, object]) -> End:
    """Read the report of a release.

    :raises GuardianError: it is none, or the window had not been released,
        but ended by itself
    """
    found = fields.Fields(report, {
        'version', 'status', 'token', 'reason', 'released', 'remarks',
        'mounts', 'filesystems'})
    if not found.flag('released'):
        raise exceptions.GuardianError(
            'the window had ended before its release')
    return End(filesystems=_each(found, _ended), mounts=_mounts(found),
               remarks=found.words('remarks', protocol.Remark))


def _each(found: fields.Fields, made: Callable[[object], _Made]
          ) -> tuple[_Made, ...]:
    return tuple(made(each) for each in found.several(
        'filesystems', protocol.MAX_FILESYSTEMS))


def _started(value: object) -> Started:
    found = fields.Fields(value, {
        'device', 'type', 'state', 'point', 'own', 'depth', 'barrier',
        'flush', 'pulse', 'changed', 'errors'})
    found.number('depth')
    return Started(
        number=found.text('device', _NUMBER),
        kind=found.text('type', _KIND),
        state=found.word('state', protocol.State),
        mountpoint=found.text('point', _POINT),
        own=found.flag('own'),
        barrier=found.flag('barrier'),
        flushed=found.word('flush', protocol.Flush) is protocol.Flush.DONE,
        pulse=found.word('pulse', protocol.Pulse),
        errors=found.pairs('errors', _ACT, _ERROR),
        changed=found.texts('changed'))


def _ended(value: object) -> Ended:
    found = fields.Fields(value, {
        'device', 'type', 'was', 'own', 'point', 'changed', 'undo', 'thawed'})
    return Ended(
        number=found.text('device', _NUMBER),
        kind=found.text('type', _KIND),
        was=found.word('was', protocol.State),
        own=found.flag('own'),
        mountpoint=found.text('point', _POINT),
        changed=found.texts('changed'),
        undo=found.word('undo', protocol.Undo),
        thawed=found.flag('thawed'))


def _mounts(found: fields.Fields) -> tuple[Mount, ...]:
    mounts = []
    for each in found.several('mounts', protocol.MAX_FILESYSTEMS):
        if not isinstance(each, list) or len(each) != 3:
            raise fields.refused('mounts')
        mounts.append(Mount(fields.text_of(each[0], 'mounts', _NUMBER),
                            fields.text_of(each[1], 'mounts', _KIND),
                            fields.text_of(each[2], 'mounts', _POINT)))
    return tuple(mounts)
