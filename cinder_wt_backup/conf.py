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

"""Options of the ``[write_through]`` section of cinder.conf."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import enum
import re

from oslo_config import cfg
from oslo_config import types

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import exceptions

# What cinder.conf names as backup_driver.
DRIVER = 'cinder_wt_backup.driver.WriteThroughBackupDriver'
GROUP = 'write_through'
HOST_NAME = re.compile(r'[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?')
HOST_ADDRESS = re.compile(r'[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\]')
# What a lease must outlast besides the drain and the window: starting and
# ending the guardian.
LEASE_MARGIN = 10
WRITE_THROUGH = 'write_through'
LIBVIRT_LOCK = 30

_seconds = types.Integer(min=1, max=3600)

OPTIONS = [
    cfg.StrOpt(
        'wrapped_driver',
        help='Class path of the stock backup driver that stores and restores '
             'the data: what backup_driver was before, for example '
             'cinder.backup.drivers.posix.PosixBackupDriver. Backups are '
             'recorded under this name, so that they can be restored by '
             'stock Cinder. No default: the service does not start '
             'without it.'),
    cfg.ListOpt(
        'methods',
        default=['write_through', 'freeze'],
        help='Ways to make a guest consistent, tried in this order until '
             'one is permitted by the guest. write_through needs the guest '
             'agent\'s guest-exec; freeze blocks the applications while the '
             'snapshot is made, and does so on top of write_through too '
             'where a guest lacks what sets the sync flag. Empty: every '
             'backup is passed to the wrapped driver untouched (the emergency '
             'switch).'),
    cfg.StrOpt(
        'barrier',
        default='none',
        choices=[('none', 'write-through only'),
                 ('freeze', 'freeze the file systems, for freeze_timeout at '
                            'the most, around the point in time')],
        help='Whether write_through is topped by a short freeze. With it the '
             'backup is as clean as if the volume had been unmounted, and '
             'writers wait while the snapshot is made.'),
    cfg.StrOpt(
        'required_level',
        default='crash',
        choices=[level.value for level in claims.Level],
        help='A backup of a volume in use that does not reach this level '
             'fails. crash: none fails on our account.'),
    cfg.BoolOpt(
        'freeze_without_lease',
        default=True,
        help='Whether guests that block guest-exec, or have no shell to run '
             '(Windows), may be frozen. In such a guest nothing can be left '
             'that thaws it by itself: if this host dies in the moment of the '
             'freeze, the guest stays frozen until cinder-backup is restarted '
             'or another host undoes it.'),
    cfg.StrOpt(
        'libvirt_uri',
        default='qemu+tls://{host}/system',
        help='How the libvirt of a compute host is reached; {host} is '
             'replaced by its address. Needs read-write access, which is '
             'root-equivalent on the compute host.'),
    cfg.ListOpt(
        'libvirt_hosts',
        default=[],
        item_type=types.String(),
        help='The known compute hosts, "name" or "name:address", where name '
             'is what Nova calls the host and address what {host} becomes. '
             'With TLS address is a name, or an address, that the host\'s '
             'certificate has: libvirt compares that of the URI, and has no '
             'parameter for another one. A name has to resolve on this host. '
             'An instance on another host is not touched. Empty: Nova is '
             'asked where an instance runs, with the credentials of the '
             '[nova] section.'),
    cfg.Opt(
        'agent_timeout',
        type=_seconds,
        default=10,
        help='Seconds to wait for one answer of libvirt or of a guest agent. '
             'After it the guest counts as silent and the backup goes on at '
             'the level that is true.'),
    cfg.Opt(
        'drain_timeout',
        type=_seconds,
        default=30,
        help='Seconds for which dirty data may be written back gently before '
             'the guest is made write-through. A guest with more dirty data '
             'than can be written in this time sees a longer stall.'),
    cfg.Opt(
        'freeze_timeout',
        type=_seconds,
        default=3,
        help='Seconds for which a guest may be frozen. A snapshot that takes '
             'longer has the level of what is beneath the freeze. If this '
             'host dies in a barrier, the guest ends it by itself, '
             '2 * agent_timeout later.'),
    cfg.Opt(
        'window_timeout',
        type=_seconds,
        default=60,
        help='Seconds from making the guest write-through to putting it '
             'back. A snapshot that takes longer is recorded as flushed.'),
    cfg.Opt(
        'lock_timeout',
        type=_seconds,
        default=60,
        help='Seconds to wait for another window, or freeze, in the same '
             'instance, or for an earlier window of the volume; for RBD '
             'volumes with the ceph driver also for one of max_windows. After '
             'each of them the backup goes on as crash.'),
    cfg.IntOpt(
        'queue_timeout',
        default=3600,
        min=1,
        max=86400,
        help='Seconds to wait for one of max_windows. Nothing is held '
             'meanwhile: no guest is changed, restores and deletions go on. '
             'After it the backup goes on as crash. For RBD volumes with the '
             'ceph driver, whose windows are opened by the transfer, it is '
             'lock_timeout.'),
    cfg.Opt(
        'lease',
        type=_seconds,
        default=180,
        help='Seconds after which a guest undoes a window by itself, '
             'whatever happened to this host. Must exceed drain_timeout + '
             'window_timeout + 2 * agent_timeout + %d.' % LEASE_MARGIN),
    cfg.IntOpt(
        'max_windows',
        default=16,
        min=1,
        max=48,
        help='Simultaneous windows of one cinder-backup process. Each holds '
             'one of the 64 threads that serve its RPC, unless it was waited '
             'for. They are shared between projects, compute hosts and back '
             'ends: from four on, the last quarter goes to projects that have '
             'none.'),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options for oslo-config-generator."""
    return [(GROUP, list(OPTIONS))]


def register(conf: cfg.ConfigOpts = cfg.CONF) -> cfg.ConfigOpts.GroupAttr:
    """Register the options and return their group."""
    conf.register_opts(OPTIONS, group=GROUP)
    return conf[GROUP]


class Barrier(enum.Enum):
    """What write_through is topped by while the snapshot is made."""

    NONE = 'none'
    FREEZE = 'freeze'


@dataclasses.dataclass(frozen=True)
class Settings:
    """The section as it was read and checked; what each means is its help.

    :ivar hosts: the compute hosts of libvirt_hosts, name -> address
    """

    wrapped_driver: str | None
    methods: tuple[str, ...]
    barrier: Barrier
    required_level: claims.Level
    freeze_without_lease: bool
    libvirt_uri: str
    hosts: Mapping[str, str]
    agent_timeout: int
    drain_timeout: int
    freeze_timeout: int
    window_timeout: int
    lock_timeout: int
    queue_timeout: int
    lease: int
    max_windows: int

    @property
    def opening_timeout(self) -> int:
        """Seconds from looking for a guest until it is consistent."""
        return self.drain_timeout + 3 * self.agent_timeout

    @property
    def closing_timeout(self) -> int:
        """Seconds for putting one guest back; then its lease has to.

        A thaw and two messages, and what libvirt waits where somebody else
        has the guest's agent.
        """
        return LIBVIRT_LOCK + 4 * self.agent_timeout

    def uri(self, address: str) -> str:
        """Return libvirt's URI of the compute host with that address."""
        return self.libvirt_uri.format(host=address)


def read(group: cfg.ConfigOpts.GroupAttr, methods: Iterable[str]) -> Settings:
    """Return the settings, if they can work together.

    :param methods: names of the methods that are installed
    :raises ConfigurationError: names the option, its value and the remedy
    """
    settings = Settings(
        barrier=Barrier(group.barrier),
        required_level=claims.Level(group.required_level),
        methods=tuple(group.methods),
        hosts=_hosts(group.libvirt_hosts),
        **{name: group[name] for name in (
            'wrapped_driver', 'freeze_without_lease', 'libvirt_uri',
            'agent_timeout', 'drain_timeout', 'freeze_timeout',
            'window_timeout', 'lock_timeout', 'queue_timeout', 'lease',
            'max_windows')})
    _check_lease(settings)
    _check_methods(settings.methods, sorted(methods))
    _check_uri(settings.libvirt_uri)
    return settings


def contradictions(settings: Settings) -> list[str]:
    """Return what of the options has no effect, or none can reach.

    It works all the same, so it is said and not refused.
    """
    found = []
    barrier = settings.barrier is Barrier.FREEZE
    if barrier and WRITE_THROUGH not in settings.methods:
        found.append(f'barrier = freeze tops {WRITE_THROUGH}, which is none '
                     f'of methods = {",".join(settings.methods)}: it has no '
                     f'effect')
    if settings.required_level is not claims.Level.CRASH and (
            not settings.methods):
        found.append(f'required_level = {settings.required_level.value} is '
                     f'not looked at with empty methods')
    if settings.required_level is claims.Level.FILESYSTEM and not barrier and (
            settings.methods[:1] == (WRITE_THROUGH,)):
        found.append(f'required_level = filesystem is not reached by '
                     f'{WRITE_THROUGH} without barrier = freeze: backups of '
                     f'mounted volumes will fail')
    return found


def _hosts(entries: Iterable[str]) -> dict[str, str]:
    hosts = {}
    for entry in entries:
        name, _, address = entry.partition(':')
        address = address or name
        if not HOST_NAME.fullmatch(name) or not HOST_ADDRESS.fullmatch(
                address):
            raise exceptions.ConfigurationError(
                f'[{GROUP}] libvirt_hosts: {entry!r} is neither "name" nor '
                f'"name:address".')
        hosts[name] = address
    return hosts


def _check_lease(settings: Settings) -> None:
    needed = (settings.drain_timeout + settings.window_timeout
              + 2 * settings.agent_timeout + LEASE_MARGIN)
    if settings.lease <= needed:
        raise exceptions.ConfigurationError(
            f'[{GROUP}] lease = {settings.lease} must exceed drain_timeout + '
            f'window_timeout + 2 * agent_timeout + {LEASE_MARGIN} = {needed}: '
            f'else guests would be put back before their snapshot is made.')


def _check_methods(wanted: Iterable[str], installed: Sequence[str]) -> None:
    for name in wanted:
        if name not in installed:
            raise exceptions.ConfigurationError(
                f'[{GROUP}] methods: {name!r} is not installed; there are: '
                f'{", ".join(installed)}.')


def _check_uri(template: str) -> None:
    try:
        template.format(host='host')
    except (AttributeError, IndexError, KeyError, ValueError):
        raise exceptions.ConfigurationError(
            f'[{GROUP}] libvirt_uri = {template!r}: only {{host}} can be '
            f'replaced in it.') from None
