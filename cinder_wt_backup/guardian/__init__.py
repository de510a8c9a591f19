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

"""The guardian: the small program that changes a guest and puts it back.

What is in ``in_guest`` runs in the guest; this is its host side. It travels as
guest-exec's input, its arguments as an argument list: no text of a guest or
tenant ever becomes part of a program.
"""

import dataclasses
import enum
import re

from cinder_wt_backup import agent
from cinder_wt_backup import exceptions
from cinder_wt_backup.guardian import program

# Keeps the program under /run, where no filesystem of a volume is, and runs
# it. "$2" is the token: what one window leaves is found by it. Who changed is
# who restores: after an upgrade, too, a release is made by what started.
BOOT = ('umask 077; d=/run/cinder-wt-backup.$2 f=$d/guardian.$1; '
        'mkdir -p "$d" && cat >"$f" && { [ "$1" != release ] || '
        '[ ! -s "$d/guardian.start" ] || f=$d/guardian.start; '
        'exec /bin/sh "$f" "$@"; }')
# Longer answers are no guardian's: 4,096 filesystems with 255 characters.
MAX_LINES = 4200
LINE = re.compile(
    r'(?P<word>late|frozen|spans|held|swap|raw|same|done)'
    r'|dirty (?P<dirty>\d{1,15})'
    r'|stuck (?P<stuck>\d{1,6}:\d{1,8})'
    r'|fs (?P<number>\d{1,6}:\d{1,8}) (?P<kind>[A-Za-z0-9_.+-]{1,32}) '
    r'(?P<state>rw|ro|sync|nobarrier) (?P<point>/[^ ]{0,4096})',
    re.ASCII)       # for \d; a mount point may be of any characters
# As it was when this process began, whatever is installed meanwhile.
PROGRAM = program.assembled()
ESCAPE = re.compile(r'\\([0-3][0-7]{2})')


class _Status(enum.IntEnum):
    DONE = 0
    LAPSED = 3
    BUSY = 4
    NO_DISK = 5
    NO_LEASE = 6


@dataclasses.dataclass(frozen=True)
class Filesystem:
    """A filesystem on the volume, as the guest's kernel shows it.

    :ivar number: ``major:minor`` of its superblock
    :ivar state: ``rw``, ``ro``, ``sync`` or ``nobarrier``
    """

    number: str
    kind: str
    state: str
    mountpoint: str


@dataclasses.dataclass(frozen=True)
class Report:
    """What the guardian found.

    :ivar filesystems: on the volume, each once
    :ivar words: ``late`` the drain was cut short, ``frozen`` something is
        frozen, and so keeps its flag, ``spans`` something lies on other disks
        too, ``held`` device-mapper or md is on it, ``swap``, ``raw`` a device
        without filesystem is in use, ``same`` (release) the mounts are those
        of the start
    :ivar stuck: (release) filesystems that stayed synchronous: to be tried
        again, the lease goes on
    :ivar dirty_kb: what was dirty in the guest at the start
    """

    filesystems: tuple[Filesystem, ...]
    words: frozenset[str]
    stuck: tuple[str, ...] = ()
    dirty_kb: int = 0

    @property
    def unflagged(self) -> bool:
        """Whether one cannot be made synchronous, or is not any more.

        For want of a way to do it, and not because it is frozen.
        """
        return 'frozen' not in self.words and any(
            fs.state == 'rw' for fs in self.filesystems)


class Guardian:
    """One window's guardian in one guest.

    :param guest_agent: that guest's agent; must permit guest-exec
    :param token: the window's name, hexadecimal
    :param timeout: seconds that starting and ending may take besides a drain
    """

    def __init__(self, guest_agent: agent.Agent, token: str,
                 timeout: int) -> None:
        self._agent = guest_agent
        self._token = token
        self._timeout = timeout

    def start(self, volume: str, address: str | None, lease: int,
              drain: int, freeze: int = 0, always: bool = True) -> Report:
        """Make the volume's filesystems write-through, under a lease.

        :param volume: the volume's id
        :param address: the disk's PCI address, if it has one
        :param lease: seconds after which the guest undoes it by itself
        :param drain: seconds for the gentle drain
        :param freeze: seconds after its report in which a freeze is over:
            what is frozen then, the guest thaws by itself. 0: none comes
        :param always: else it comes where something is ``unflagged`` only
        :raises GuardianBusy: another window is open in the guest
        :raises GuardianUnable: this guest lacks what it needs; it was not
            changed
        :raises GuardianError, AgentError: it is not write-through; release
            all the same when it is not known how far it came
        """
        try:
            return self._run(drain + self._timeout, 'start', self._token,
                             volume, address or '-', str(lease), str(drain),
                             str(freeze or '-'),
                             'always' if always else 'unless-sync')
        except exceptions.ProgramNotStarted as error:
            raise exceptions.GuardianUnable(str(error)) from error

    def release(self) -> Report:
        """Put everything back; harmless when there is nothing to put back.

        To be called again when something is stuck.

        :raises GuardianLapsed: the lease had ended: the guest has put itself
            back, and nothing can be claimed
        :raises GuardianError, AgentError: it did not answer as it should
        """
        return self._run(self._timeout, 'release', self._token)

    def _run(self, timeout: int, *arguments: str) -> Report:
        ended = self._agent.run(
            ('/bin/sh', '-c', BOOT, 'guardian', *arguments), PROGRAM,
            timeout)
        if ended.status == _Status.DONE:
            return parse(ended.output)
        where = f'in instance {self._agent.instance}'
        errors: dict[int, exceptions.GuardianError] = {
            _Status.LAPSED: exceptions.GuardianLapsed(
                f'the window {where} had ended before its release, by its '
                f'lease, a reboot or a release that was not heard of: the '
                f'guest is as it was'),
            _Status.BUSY: exceptions.GuardianBusy(
                f'another window is open {where}'),
            _Status.NO_DISK: exceptions.GuardianUnable(
                f'the volume\'s disk was not found {where}: its serial is '
                f'missing from /sys/block'),
            _Status.NO_LEASE: exceptions.GuardianUnable(
                f'nothing could be left behind {where} to put it back, so it '
                f'was not changed'),
        }
        raise errors.get(ended.status, exceptions.GuardianUnable(
            f'the guardian ended with status {ended.status} {where}; does '
            f'its agent run as root, with /run writable?'))


def parse(output: str) -> Report:
    """Read a guardian's report; it is the guest's word, so every line counts.

    :raises GuardianError: it is not a whole report
    """
    lines = output.removesuffix('\n').split('\n')
    if lines[-1] != 'done' or len(lines) > MAX_LINES:
        raise exceptions.GuardianError('the guardian\'s report is incomplete')
    filesystems, words, stuck, dirty = [], set(), [], 0
    for line in lines:
        match = LINE.fullmatch(line)
        if match is None:
            raise exceptions.GuardianError(
                'the guardian\'s report has a line that no guardian writes')
        if match['number']:
            filesystems.append(Filesystem(
                match['number'], match['kind'], match['state'],
                _unescaped(match['point'])))
        elif match['word']:
            words.add(match['word'])
        elif match['stuck']:
            stuck.append(match['stuck'])
        else:
            dirty = int(match['dirty'])
    return Report(tuple(filesystems), frozenset(words), tuple(stuck), dirty)


def _unescaped(point: str) -> str:
    """Undo the octal escapes of /proc/self/mountinfo."""
    return ESCAPE.sub(lambda match: chr(int(match[1], 8)), point)
