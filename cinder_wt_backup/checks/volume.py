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

"""One volume: each step of the way to its guests, and what a backup claims."""

from __future__ import annotations

from collections.abc import Iterator

from cinder import context as contexts
from cinder import objects

from cinder_wt_backup.checks import expectation
from cinder_wt_backup.checks import row
from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import reach
from cinder_wt_backup.service import attachments
from cinder_wt_backup.service import policy


def of_server(context: contexts.RequestContext, server: str
              ) -> list[str]:
    """Return the ids of the volumes that are attached to an instance."""
    rows = objects.VolumeAttachmentList.get_all_by_instance_uuid(
        context, server)
    return list(dict.fromkeys(each.volume_id for each in rows
                              if each.attach_status == 'attached'))


def check(context: contexts.RequestContext, volume: objects.Volume,
          settings: conf.Settings) -> Iterator[row.Row]:
    """Check the way to every guest that has a volume; change nothing."""
    subject = f'volume {volume.id}'
    if not _is_in_use(volume):
        yield row.success(subject, 'is not in use: its backups are '
                          'consistent, as in stock Cinder')
        return
    try:
        wanted = policy.read(volume.metadata, settings.required_level)
        targets = attachments.locate(context, volume, settings)
    except exceptions.WriteThroughError as error:
        yield row.failure(subject, str(error))
        return
    if wanted.off:
        yield row.warning(subject, f'its owner has {policy.KEY} = off: its '
                          f'backups are stock Cinder\'s',
                          'have him take that out of its metadata')
        return
    for target in targets:
        yield row.success(subject, f'is attached to instance '
                          f'{target.instance}')
        yield from _check_guest(target, settings, wanted.required)


def _is_in_use(volume: objects.Volume) -> bool:
    if volume.status == 'backing-up':
        return attachments.in_use(volume)
    return bool(volume.status == 'in-use')


def _check_guest(target: reach.Target, settings: conf.Settings,
                 required: claims.Level) -> Iterator[row.Row]:
    subject = f'instance {target.instance}'
    try:
        with reach.connect(target, settings.agent_timeout) as guest:
            yield row.success(subject, f'runs, and has the volume as '
                              f'{guest.disk.target}')
            if guest.unsafe:
                yield row.failure(subject, guest.unsafe, 'what the guest '
                                  'flushes may not reach the volume: change '
                                  'its cache mode')
                return
            yield row.success(subject, f'its guest agent answers, version '
                              f'{guest.agent.version()}')
            yield _file_systems(subject, guest)
            yield expectation.row_of(subject, guest, target, settings,
                                     required)
    except exceptions.DomainNotRunning as error:
        yield _of_one_that_does_not_run(subject, error)
    except exceptions.WriteThroughError as error:
        yield row.failure(subject, str(error))


def _of_one_that_does_not_run(subject: str,
                              error: exceptions.DomainNotRunning) -> row.Row:
    if error.shut_off:
        return row.success(subject, 'is shut off: there is nothing that could '
                           'be written')
    return row.failure(subject, str(error),
                       'start or resume it before the backup')


def _file_systems(subject: str, guest: reach.Guest) -> row.Row:
    try:
        found = guest.mounts()
    except exceptions.WriteThroughError as error:
        return row.warning(subject, f'its file systems are not known: {error}')
    kinds = ', '.join(f'{mount.kind} at {mount.mountpoint}'
                      for mount in found) or 'none that its agent sees'
    return row.success(subject, f'file systems of the volume: {kinds}')
