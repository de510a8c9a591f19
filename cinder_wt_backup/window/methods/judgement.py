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

"""What the two reports of a window prove, and why it is not more."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup.guest import filesystems
from cinder_wt_backup.guest.guardian.inside import protocol
from cinder_wt_backup.guest.guardian import report as reports

Objection = tuple[claims.Level, str]
Remark = protocol.Remark
State = protocol.State

CRASH = claims.Level.CRASH
FLUSHED = claims.Level.FLUSHED
WRITE_THROUGH = claims.Level.WRITE_THROUGH
FROZEN = ('a file system is frozen by somebody else: thaw it, or wait for who '
          'did it')
CHANGED = ('file systems of the volume were mounted or unmounted in the guest '
           'meanwhile, or it was detached')
# What was seen beside the file systems, and permits no more than that.
REMARKS: tuple[tuple[Remark, claims.Level, str], ...] = (
    (Remark.UNFLUSHED, CRASH,
     'a flush failed in the guest: look for I/O errors in its kernel log'),
    (Remark.JOURNAL, CRASH,
     'a file system and its journal, log or data lie on different disks, of '
     'which only one is in this backup'),
    (Remark.CONTAINER, FLUSHED,
     'the guest\'s agent runs in a container, where not everything can be '
     'seen: run it outside'),
    (Remark.UNSEEN, FLUSHED,
     'not everything that may use the volume could be seen in the guest: its '
     'agent may be confined by SELinux, or too much be mounted'),
    (Remark.CACHE, FLUSHED,
     'a cache, mirror or thin pool of device-mapper, md or bcache has data of '
     'the volume on other disks'),
    (Remark.RAW, FLUSHED,
     'a device of the volume is used without a file system; it was flushed, '
     'later writes may be missing'),
    (Remark.KERNEL, FLUSHED,
     'the guest exports disks to others, and this may be one of them'),
)
# Of numbers of file systems, in one message.
MAX_TOLD = 8


@dataclasses.dataclass(frozen=True)
class Barrier:
    """What became of a freeze on top of the flag.

    :ivar held: from before the point in time until after it
    :ivar drained: it began, so that writers in progress were through
    :ivar problem: why it did not hold, if one was wanted
    """

    held: bool = False
    drained: bool = False
    problem: str = ''


def judge(start: reports.Start, end: reports.End,
          barrier: Barrier) -> claims.Claim:
    """Return what is proven, and what is if the freeze was none."""
    claim = _judge(start, end, barrier)
    if not barrier.held:
        return claim
    return dataclasses.replace(
        claim, beneath=min(claim.level, _judge(start, end, Barrier()).level))


def _judge(start: reports.Start, end: reports.End,
           barrier: Barrier) -> claims.Claim:
    if (barrier.held or barrier.drained) and not _led_there(start, end):
        barrier = Barrier(problem='no barrier: paths of the volume\'s file '
                                  'systems led elsewhere meanwhile')
    everything: list[reports.Mount] = [
        *start.filesystems, *end.filesystems, *start.mounts, *end.mounts]
    seen = filesystems.by_freeze(everything)
    uncovered = [fs for fs in seen.efi if barrier.held
                 or fs.number not in _kept(start, end)]
    kinds = [fs.kind for fs in start.filesystems
             if fs.number not in {each.number for each in uncovered}]
    claim = claims.Claim(
        level=claims.Level.FILESYSTEM, method='write_through',
        filesystems={kind: kinds.count(kind) for kind in kinds})
    efi = {fs.number for fs in seen.efi}
    for level, reason in _objections(_without(start, efi), _ended(end, efi),
                                     barrier):
        if level < claim.level:
            claim = claim.lowered(level, reason)
    if not claim.reason and Remark.SPANS in start.remarks | end.remarks:
        claim = claim.with_remark('a file system lies on other volumes too, '
                                  'which are not in this backup')
    return claim.with_remark(filesystems.remark(uncovered))


def flushed(start: reports.Start, reason: str) -> claims.Claim:
    """Return what a start proves by itself, whatever came after it."""
    claim = claims.Claim(FLUSHED, reason)
    for level, why in _of_start(start, set()):
        claim = claim.lowered(level, why)
    return claim


def options_left_reset(end: reports.End) -> str:
    """Return what is to be said of options that stay reset, if any do."""
    told = [f'{fs.number} ({", ".join(fs.changed[:MAX_TOLD])})'
            for fs in end.filesystems if fs.changed][:MAX_TOLD]
    return (f'mount options are not as before, by the guest\'s kernel or its '
            f'admin, of {", ".join(told)}: see that they are as they have to '
            f'be') if told else ''


def left_over(end: reports.End) -> str:
    """Return what a release could not put back; empty: nothing."""
    if not end.stuck:
        return ''
    why = 'in the guest: mount -o remount,async their mount points'
    if any(fs.undo == protocol.Undo.FROZEN for fs in end.stuck):
        why = FROZEN
    elif any(fs.undo == protocol.Undo.UNKNOWN for fs in end.stuck):
        why = ('a call of its kernel does not return: see whether its disk '
               'answers')
    numbers = ', '.join(fs.number for fs in end.stuck[:MAX_TOLD])
    return f'still synchronous may be {numbers}: {why}'


def _led_there(start: reports.Start, end: reports.End) -> bool:
    """Whether the paths that may have been frozen led there all the time."""
    later = {fs.number: fs for fs in end.filesystems}
    return all(
        fs.number in later and later[fs.number].own
        and later[fs.number].mountpoint == fs.mountpoint
        and later[fs.number].was not in (State.HIDDEN, State.UNKNOWN)
        for fs in filesystems.by_freeze(start.filesystems).freezable)


def _kept(start: reports.Start, end: reports.End) -> set[str]:
    """Return what was synchronous, or read-only, at the start and the end."""
    kept = (State.FLAGGED, State.SYNC, State.READ_ONLY)
    return ({fs.number for fs in start.filesystems if fs.state in kept
             and (fs.state != State.FLAGGED or start.drains or fs.drained)}
            & {fs.number for fs in end.filesystems if fs.was in kept})


def _without(start: reports.Start, efi: set[str]) -> reports.Start:
    return dataclasses.replace(
        start, filesystems=tuple(fs for fs in start.filesystems
                                 if fs.number not in efi),
        mounts=_mounts(start.mounts, efi))


def _ended(end: reports.End, efi: set[str]) -> reports.End:
    return dataclasses.replace(
        end, filesystems=tuple(fs for fs in end.filesystems
                               if fs.number not in efi),
        mounts=_mounts(end.mounts, efi))


def _mounts(mounts: Iterable[reports.Mount], efi: set[str]
            ) -> tuple[reports.Mount, ...]:
    return tuple(fs for fs in mounts if fs.number not in efi)


def _objections(start: reports.Start, end: reports.End,
                barrier: Barrier) -> Iterator[Objection]:
    """Yield what each thing seen permits at the most, and why."""
    for remark, level, reason in REMARKS:
        if remark in end.remarks:
            yield level, reason
    if not start.filesystems and {Remark.HELD, Remark.SWAP} & (
            start.remarks | end.remarks):
        yield FLUSHED, ('the volume is used by device-mapper, md or swap '
                        'without a mounted file system')
    covered = {fs.number for fs in filesystems.by_freeze(
        start.filesystems).freezable} if barrier.held else set()
    yield from _of_start(start, covered)
    if any(fs.thawed for fs in end.filesystems):
        yield WRITE_THROUGH, 'the guest ended the freeze by itself'
    yield from _of_meanwhile(start, end, covered)
    waited_for = {fs.number for fs in filesystems.by_freeze(
        start.filesystems).freezable} if barrier.drained else set()
    if not start.drains and any(
            fs.state == State.FLAGGED and not fs.drained
            and fs.number not in waited_for for fs in start.filesystems):
        yield FLUSHED, ('writes that were in progress may be missing: this '
                        'guest\'s kernel is older than 6.0, and they could '
                        'not be waited for')
    if start.filesystems and not barrier.held:
        yield WRITE_THROUGH, barrier.problem
    for fs in filesystems.by_freeze(start.filesystems).unfreezable:
        if fs.state != State.READ_ONLY:
            yield WRITE_THROUGH, f'{fs.kind} cannot be frozen'


def _of_start(start: reports.Start, covered: set[str]
              ) -> Iterator[Objection]:
    for remark, level, reason in REMARKS:
        if remark in start.remarks:
            yield level, reason
    for fs in start.filesystems:
        yield from _of_one(fs, fs.number in covered)


def _of_one(fs: reports.Started, covered: bool) -> Iterator[Objection]:
    """Yield objections by what one file system was at the start.

    :param covered: by a freeze that held
    """
    if fs.state == State.HIDDEN:
        yield FLUSHED, (f'{fs.kind} is hidden by what is mounted over its '
                        f'mount point, and was only flushed')
    elif fs.state == State.GONE:
        yield FLUSHED, CHANGED
    elif 'flush' in fs.errors or not (
            fs.flushed or fs.state == State.READ_ONLY):
        why = fs.errors.get('flush', 'its kernel did not return')
        yield CRASH, (f'{fs.kind} could not be flushed in the guest ({why}): '
                      f'look for I/O errors in its kernel log')
    elif fs.state in (State.WRITABLE, State.UNKNOWN) and not covered:
        yield FLUSHED, (f'{fs.kind} could not be made synchronous: '
                        f'{_why_not(fs)}')
    if not fs.barrier:
        yield FLUSHED, (f'{fs.kind} is mounted without write barriers: mount '
                        f'it with them for more')


def _why_not(fs: reports.Started) -> str:
    """Return why a file system did not get the flag."""
    if fs.frozen:
        return FROZEN
    error = fs.errors.get('engage')
    if error == 'EOPNOTSUPP':
        return ('the guest\'s kernel is older than 5.2, and its remount would '
                'change more than that')
    if error:
        return f'the guest\'s kernel refused it ({error})'
    return ('it is of a type that is not known to keep its other options '
            'meanwhile')


def _of_meanwhile(start: reports.Start, end: reports.End,
                  covered: set[str]) -> Iterator[Objection]:
    """Yield objections by what changed between start and release."""
    then, later = ({(fs.number, fs.kind) for fs in mounts}
                   for mounts in (start.mounts, end.mounts))
    first = {(fs.number, fs.kind) for fs in start.filesystems}
    if not first == then == later or first != {
            (fs.number, fs.kind) for fs in end.filesystems}:
        yield FLUSHED, CHANGED
    for fs in end.filesystems:
        if fs.was == State.GONE:
            yield FLUSHED, CHANGED
        elif fs.number in covered:
            continue
        elif fs.was == State.WRITABLE:
            yield FLUSHED, (f'{fs.kind} was remounted in the guest meanwhile, '
                            f'without sync')
        elif fs.was in (State.UNKNOWN, State.HIDDEN):
            yield FLUSHED, (f'{fs.kind} could not be seen to be synchronous '
                            f'at the end')
