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

"""From a volume to the instances that have it, and to their hosts.

Attachments are tenant input: a project member can create one with any
instance and any connector. So a host must be one that the operator or Nova
names, no text of an attachment gets into a URI, and what a domain really has
is checked again in its own XML (:meth:`hypervisor.domain.Domain.disk`).
"""

from __future__ import annotations

from collections.abc import Iterable
import functools

from cinder.compute import nova
from cinder import context as contexts
from cinder import objects
from oslo_log import log as logging

from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import reach
from cinder_wt_backup import plain
from cinder_wt_backup.service import fairness
from cinder_wt_backup.service import policy

LOG = logging.getLogger(__name__)

# For each of them Nova and a guest are asked, one after the other.
MOST_ATTACHMENTS = 16
HOST_ATTRIBUTE = 'OS-EXT-SRV-ATTR:host'


def locate(context: contexts.RequestContext, volume: objects.Volume,
           settings: conf.Settings) -> list[reach.Target]:
    """Return the instances that a volume in use is attached to.

    :param context: an admin context
    :param volume: Cinder's Volume object
    :param settings: the ``[write_through]`` section
    :raises Unreachable: it is attached to something that is no instance
    """
    attached = [attachment for attachment in volume.volume_attachment
                if attachment.attach_status == 'attached']
    if not attached:
        raise exceptions.Unreachable(
            f'volume {volume.id} is attached to nothing: what had it when the '
            f'backup was requested may not have flushed it')
    if not all(a.instance_uuid for a in attached):
        raise exceptions.Unreachable(
            f'volume {volume.id} is attached to something else than an '
            f'instance: what has it cannot be flushed from here')
    if len(attached) > MOST_ATTACHMENTS:
        raise exceptions.Unreachable(
            f'volume {volume.id} has {len(attached)} attachments: windows are '
            f'opened for up to {MOST_ATTACHMENTS}')
    instances: dict[str, list[objects.VolumeAttachment]] = {}
    for attachment in attached:
        instances.setdefault(attachment.instance_uuid, []).append(attachment)
    return [
        reach.Target(
            volume=volume.id, project=volume.project_id, instance=instance,
            uris=_uris(context, instance, rows, settings),
            source=_source(rows),
            no_exec=policy.forbids_programs(volume.metadata),
            elsewhere=functools.partial(
                _uris_now, context, volume.id, instance, settings))
        for instance, rows in instances.items()]


def wish_of(volume: objects.Volume) -> fairness.Wish:
    """Return what a window on a volume shares with others.

    Attachments may say what they like. Instances count for the volume's own
    project only. By naming hosts that are not his, a tenant keeps others there
    from the last quarter at the most: theirs is the next window that closes.
    """
    rows = list(volume.volume_attachment)[:MOST_ATTACHMENTS]
    hosts = [name for row in rows for name in (
        row.attached_host, (row.connector or {}).get('host')) if name]
    return fairness.Wish(
        volume.project_id,
        frozenset(f'{volume.project_id}/{row.instance_uuid}' for row in rows
                  if row.instance_uuid),
        frozenset(map(str, hosts)), (volume.host or '').partition('#')[0])


def in_use(volume: objects.Volume) -> bool:
    """Whether somebody may write to a volume that is being backed up.

    By its status before the backup; where stock Cinder has spoilt that (the
    end of a backup that was reset writes it again), by its instances.
    """
    if volume.previous_status in ('in-use', 'available'):
        return bool(volume.previous_status == 'in-use')
    return any(attachment.attach_status == 'attached'
               and attachment.instance_uuid
               for attachment in volume.volume_attachment)


def driver_type(volume: objects.Volume) -> str | None:
    """Return how the volume is connected: ``rbd``, ``iscsi``, …

    As Cinder itself recorded it in the attachments' connection_info, which
    one that is only reserved lacks; None when it did not, or they differ.
    """
    kinds = {(attachment.connection_info or {}).get('driver_volume_type')
             for attachment in volume.volume_attachment} - {None}
    return kinds.pop() if len(kinds) == 1 else None


def _uris_now(context: contexts.RequestContext, volume_id: str, instance: str,
              settings: conf.Settings) -> tuple[str, ...]:
    """Return the URIs by the attachments of today."""
    rows = objects.VolumeAttachmentList.get_all_by_volume_id(context,
                                                             volume_id)
    return _uris(context, instance, [
        row for row in rows if row.instance_uuid == instance], settings)


def _uris(context: contexts.RequestContext, instance: str,
          rows: Iterable[objects.VolumeAttachment], settings: conf.Settings
          ) -> tuple[str, ...]:
    return tuple(settings.uri(address) for address in _addresses(
        context, instance, rows, settings))


def _addresses(context: contexts.RequestContext, instance: str,
               attachments: Iterable[objects.VolumeAttachment],
               settings: conf.Settings) -> list[str]:
    """Return the addresses of the hosts that may run the instance."""
    known = settings.hosts
    if known:
        named = [name for attachment in attachments for name in (
            attachment.attached_host, (attachment.connector or {}).get('host'))
            if isinstance(name, str) and name in known]
        return [known[name] for name in dict.fromkeys(named)]
    host = _ask_nova(context, instance, settings.agent_timeout)
    if host is None or not conf.HOST_NAME.fullmatch(host):
        return []
    return [host]


def _ask_nova(context: contexts.RequestContext, instance: str, timeout: int
              ) -> str | None:
    try:
        server = nova.API().get_server(context, instance,
                                       privileged_user=True, timeout=timeout)
    except Exception as error:
        # Whatever keystone, Nova or the network raised: the backup goes on.
        LOG.warning('Nova does not say where instance %(instance)s runs: '
                    '%(error)s. Check the [nova] section, or list the compute '
                    'hosts in [%(group)s] libvirt_hosts.',
                    {'instance': instance, 'error': plain.text(error),
                     'group': conf.GROUP})
        return None
    host: str | None = getattr(server, HOST_ATTRIBUTE, None)
    return host


def _source(attachments: Iterable[objects.VolumeAttachment]) -> str | None:
    """Return the RBD image that Cinder gave out, ``pool/image``."""
    for attachment in attachments:
        info = attachment.connection_info or {}
        if info.get('driver_volume_type') == 'rbd':
            return info.get('name')
    return None
