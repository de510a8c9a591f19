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

"""All that is used of Cinder, oslo, tooz, os-brick and libvirt's bindings.

It is looked for once, when the service starts: an installation in which
something is missing, or is called in another way, is refused with its name.
What a module of ours needs to be imported at all is not listed: Python itself
names it, and the service does not start either.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
import importlib
import inspect

from cinder import objects

from cinder_wt_backup import exceptions


@dataclasses.dataclass(frozen=True)
class Used:
    """Something that we use, or put our own step around.

    :ivar owner: a module, or ``module:Class``
    :ivar parameters: what it is called with, in this order; None: whatever
    :ivar more: whether it may take more than that
    """

    owner: str
    name: str
    parameters: tuple[str, ...] | None = None
    more: bool = False

    def __str__(self) -> str:
        called = '' if self.parameters is None else (
            f'({", ".join(self.parameters)})')
        return f'{self.owner.replace(":", ".")}.{self.name}{called}'

    def is_there(self, owner: object) -> bool:
        """Whether that module or class has it, as it is used."""
        found = getattr(owner, self.name, None)
        if self.parameters is None or not callable(found):
            return hasattr(owner, self.name) and self.parameters is None
        has = tuple(inspect.signature(found).parameters)
        return (set(self.parameters) <= set(has) if self.more
                else has == self.parameters)


MANAGER = 'cinder.backup.manager:BackupManager'
OBJECTS = 'cinder.objects'
# What a release renamed stands here by all of its names.
DATABASES = ('cinder.db.api', 'cinder.db.sqlalchemy.api')
MODELS = ('cinder.db.models', 'cinder.db.sqlalchemy.models')

TABLE = (
    Used(MANAGER, 'init_host', ('self', 'kwargs')),
    Used(MANAGER, 'create_backup', ('self', 'context', 'backup')),
    Used(MANAGER, '_start_backup', ('self', 'context', 'backup', 'volume')),
    Used(MANAGER, 'continue_backup',
         ('self', 'context', 'backup', 'backup_device')),
    Used(MANAGER, '_is_our_backup', ('self', 'backup')),
    Used(MANAGER, 'run_periodic_tasks', ('self', 'context',
                                         'raise_on_error')),
    Used('cinder.backup.manager', 'MAPPING'),
    Used('cinder.volume.rpcapi:VolumeAPI', 'get_backup_device',
         ('self', 'ctxt', 'backup', 'volume')),
    Used('cinder.service:Service', 'stop', ('self',)),
    Used('cinder.service:Service', 'wait', ('self',)),
    Used('cinder.context', 'get_admin_context'),
    Used('cinder.context:RequestContext', 'elevated'),
    Used('cinder.context:RequestContext', 'update_store'),
    Used('cinder.coordination', 'COORDINATOR'),
    Used('cinder.coordination:Coordinator', 'get_lock'),
    Used('cinder.exception', 'BackupNotFound'),
    Used('cinder.exception', 'BackupRBDOperationFailed'),
    Used('cinder.exception', 'NotFound'),
    Used('cinder.exception', 'VolumeNotFound'),
    Used('cinder.compute.nova:API', 'get_server',
         ('context', 'server_id', 'privileged_user', 'timeout'), more=True),
    Used('cinder.volume.volume_utils', 'notify_about_backup_usage',
         ('context', 'backup', 'event_suffix', 'extra_usage_info', 'host'),
         more=True),
    Used('cinder.volume.volume_utils', 'notify_about_volume_usage',
         ('context', 'volume', 'event_suffix', 'extra_usage_info', 'host'),
         more=True),
    Used('cinder.objects.fields:BackupStatus', 'CREATING'),
    Used('cinder.objects.volume:Volume', 'admin_metadata_update',
         ('self', 'metadata', 'delete'), more=True),
    Used('cinder.objects.volume_attachment:VolumeAttachmentList',
         'get_all_by_volume_id'),
    Used('cinder.objects.service:ServiceList', 'get_all'),
    Used('cinder.objects.backup:Backup', 'get_by_id'),
    Used('cinder.objects.backup:Backup', 'obj_reset_changes'),
    Used('cinder.objects.snapshot:Snapshot', 'get_by_id'),
    Used('cinder.objects.volume:Volume', 'get_by_id'),
    Used('oslo_db.exception', 'DBConnectionError'),
    Used('tooz.coordination', 'LockAcquireFailed'),
    Used('tooz.locking:Lock', 'acquire', ('self', 'blocking'), more=True),
    Used('tooz.locking:Lock', 'release', ('self',)),
    Used('os_brick.initiator.linuxrbd:RBDVolumeIOWrapper', 'rbd_image'),
    Used('libvirt', 'openAuth', ('uri', 'auth', 'flags')),
    Used('libvirt', 'registerErrorHandler', ('f', 'ctx')),
    Used('libvirt', 'virEventRegisterDefaultImpl', ()),
    Used('libvirt', 'virEventRunDefaultImpl', ()),
    Used('libvirt', 'virEventAddTimeout', ('timeout', 'cb', 'opaque')),
    Used('libvirt:virConnect', 'setKeepAlive'),
    Used('libvirt:virConnect', 'lookupByUUIDString'),
    Used('libvirt:virConnect', 'isAlive'),
    Used('libvirt:virConnect', 'numOfDomains'),
    Used('libvirt:virConnect', 'close'),
    Used('libvirt:virDomain', 'state'),
    Used('libvirt:virDomain', 'hasManagedSaveImage'),
    Used('libvirt:virDomain', 'XMLDesc'),
    Used('libvirt:libvirtError', 'get_error_code'),
    Used('libvirt:libvirtError', 'get_error_domain'),
    Used('libvirt_qemu', 'qemuAgentCommand',
         ('domain', 'cmd', 'timeout', 'flags')),
)
FIELDS = {
    'Backup': ('temp_volume_id', 'temp_snapshot_id', 'metadata', 'service',
               'snapshot_id', 'volume_id', 'host', 'status'),
    'Volume': ('admin_metadata', 'metadata', 'previous_status', 'project_id',
               'host', 'status', 'volume_attachment'),
    'VolumeAttachment': ('attach_status', 'attached_host', 'connection_info',
                         'connector', 'instance_uuid'),
    'Snapshot': ('status',),
    'Service': ('host',),
}
# Of the ceph driver, where that is wrapped.
CEPH = (('_backup_rbd', ('self', 'backup')),
        ('_get_new_snap_name', ('self', 'backup_id')),
        ('_rbd_diff_transfer', ('self', 'src_snap')))


def check(wrapped: type, is_ceph: bool) -> None:
    """See that everything is there.

    :raises ConfigurationError: names everything that is missing
    """
    objects.register_all()
    missing = [*_missing(), *_missing_fields(), *_missing_database()]
    if is_ceph:
        where = f'{wrapped.__module__}:{wrapped.__name__}'
        missing += [str(used) for used in (
            Used(where, name, parameters, more=True)
            for name, parameters in CEPH) if not used.is_there(wrapped)]
    if missing:
        raise exceptions.ConfigurationError(
            f'this Cinder is not one that cinder-wt-backup knows; it lacks '
            f'{"; ".join(missing)}. Set backup_driver back to the wrapped '
            f'driver, or install a version made for this Cinder.')


def _missing() -> Iterator[str]:
    for used in TABLE:
        owner = _find(used.owner)
        if owner is None or not used.is_there(owner):
            yield str(used)


def _missing_fields() -> Iterator[str]:
    for name, fields in FIELDS.items():
        there = getattr(getattr(objects, name, None), 'fields', {})
        yield from (f'{OBJECTS}.{name}.{field}' for field in fields
                    if field not in there)


def _missing_database() -> Iterator[str]:
    for places, name in ((DATABASES, 'main_context_manager'),
                         (MODELS, 'VolumeAdminMetadata')):
        if not any(hasattr(_find(place), name) for place in places):
            yield f'{places[0]}.{name}'


def _find(path: str) -> object | None:
    """Return a module or class, if it is there."""
    module, _, name = path.partition(':')
    try:
        found: object = importlib.import_module(module)
    except ImportError:
        return None
    return getattr(found, name, None) if name else found
