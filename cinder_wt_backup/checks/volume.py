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

from cinder_wt_backup.checks import row
from cinder_wt_backup import conf
from cinder_wt_backup import exceptions
from cinder_wt_backup.guest import reach
from cinder_wt_backup.service import attachments
from cinder_wt_backup.window import methods
from cinder_wt_backup.window.methods import base

# A window's name, where none is opened.
NO_TOKEN = '0' * 32


def of_server(context: contexts.RequestContext, server: str
              ) -> list[objects.Volume]:
    """Return the volumes that are attached to an instance."""
    rows = objects.VolumeAttachmentList.get_all_by_instance_uuid(
        context, server)
    return [objects.Volume.get_by_id(context, volume)
            for volume in dict.fromkeys(each.volume_id for each in rows)]


def check(context: contexts.RequestContext, volume: objects.Volume,
          settings: conf.Settings) -> Iterator[row.Row]:
    """Check the way to every guest that has a volume; change nothing."""
    subject = f'volume {volume.id}'
    if not any(attachment.attach_status == 'attached'
               for attachment in volume.volume_attachment):
        yield row.success(subject, 'is not attached: its backups are '
                          'consistent, as in stock Cinder')
        return
    try:
        targets = attachments.locate(context, volume, settings)
    except exceptions.WriteThroughError as error:
        yield row.failure(subject, str(error))
        return
    for target in targets:
        yield row.success(subject, f'is attached to instance '
                          f'{target.instance}')
        yield from _check_guest(target, settings)


def _check_guest(target: reach.Target, settings: conf.Settings
                 ) -> Iterator[row.Row]:
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
            yield from _check_agent(subject, guest, target, settings)
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


def _check_agent(subject: str, guest: reach.Guest, target: reach.Target,
                 settings: conf.Settings) -> Iterator[row.Row]:
    yield row.success(subject, f'its guest agent answers, version '
                      f'{guest.agent.version()}')
    try:
        found = guest.mounts()
    except exceptions.WriteThroughError as error:
        yield row.warning(subject, f'its file systems are not known: {error}')
    else:
        kinds = ', '.join(f'{mount.kind} at {mount.mountpoint}'
                          for mount in found) or 'none is mounted'
        yield row.success(subject, f'file systems of the volume: {kinds}')
    yield _expectation(subject, guest, target, settings)


def _expectation(subject: str, guest: reach.Guest, target: reach.Target,
                 settings: conf.Settings) -> row.Row:
    """Return how a backup would be made now, and why not in a better way."""
    whys: list[str] = []
    for name in settings.methods:
        why = _objection(methods.installed()[name], guest, target, settings)
        if not why:
            return _by_method(subject, name, whys, settings)
        whys.append(f'{name}: {why}')
    return row.failure(
        subject, 'a backup would be crash-consistent: '
        + ('; '.join(whys) or 'no methods are configured'))


def _objection(method: type[base.Method], guest: reach.Guest,
               target: reach.Target, settings: conf.Settings) -> str:
    """Return why a method cannot be used; empty: nothing speaks against it."""
    if method.runs_programs and target.no_exec:
        return 'the owner of the volume permits no programs in the guest'
    try:
        method(guest, NO_TOKEN, settings).check()
    except exceptions.WriteThroughError as error:
        return str(error)
    return ''


def _by_method(subject: str, name: str, whys: list[str],
               settings: conf.Settings) -> row.Row:
    detail = f'a backup would be made by {name}'
    if whys:
        return row.warning(subject, f'{detail}, since not by others: '
                           f'{"; ".join(whys)}')
    if settings.barrier is conf.Barrier.FREEZE:
        detail += ', with a freeze on top'
    return row.success(subject, detail)
