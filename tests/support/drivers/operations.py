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


"""What is done with backups of each stock driver, in this order.

An operation returns what its cell in the table says, and raises CloudError,
or what openstacksdk raises, when it does not do what stock Cinder does.
"""

import time

import openstack

from tests.support.cloud import console
from tests.support.drivers import bench as benches

Bench = benches.Bench


def full_of_stock(bench: Bench) -> str:
    """The first of a chain, without the plugin."""
    bench.configure(plugin=False)
    bench.looked = bench.look()
    return _chained(bench, bench.back_up(), '')


def incremental(bench: Bench) -> str:
    """Continued with the plugin."""
    bench.configure(plugin=True)
    return _chained(bench, bench.back_up(is_incremental=bench.chains),
                    'write-through')


def services_and_upgrade_check(bench: Bench) -> str:
    """The service list and ``cinder-status``, beside those of stock."""
    looks = bench.look()
    if looks != bench.looked:
        raise console.CloudError(f'{looks}, not {bench.looked}')
    return 'as before'


def incremental_again(bench: Bench) -> str:
    """And once more."""
    return _chained(bench, bench.back_up(is_incremental=bench.chains),
                    'write-through')


def restore_each(bench: Bench) -> str:
    """Each link to a new volume."""
    for link in bench.links:
        bench.verify(link)
    return f'{len(bench.links)} links'


def restore_over(bench: Bench) -> str:
    """Each over a volume that is there."""
    for link in bench.links:
        bench.verify(link, bench.stage.volume(1))
    return f'{len(bench.links)} links'


def of_a_snapshot(bench: Bench) -> str:
    """A backup of a snapshot: none of our business."""
    storage = bench.storage
    snapshot = storage.create_snapshot(volume_id=bench.volume, force=True)
    storage.wait_for_status(snapshot, 'available', wait=benches.SECONDS)
    link = bench.back_up(snapshot_id=snapshot.id)
    bench.delete(link)
    storage.delete_snapshot(snapshot)
    storage.wait_for_delete(snapshot, wait=benches.SECONDS)
    return _level(link, '')


def continued_by_stock(bench: Bench) -> str:
    """An incremental one of stock Cinder upon one with the plugin."""
    bench.configure(plugin=False)
    link = bench.back_up(is_incremental=bench.chains)
    bench.verify(link)
    bench.delete(link)
    return _level(link, '')


def import_to_stock(bench: Bench) -> str:
    """The last one's record, into a Cinder without the plugin."""
    link = bench.links[-1]
    bench.import_again(link)
    bench.verify(link)
    return 'yes'


def import_back(bench: Bench) -> str:
    """From there to one with the plugin, and continued by it."""
    bench.configure(plugin=True)
    bench.import_again(bench.links[-1])
    bench.verify(bench.links[-1])
    return _chained(bench, bench.back_up(is_incremental=bench.chains),
                    'write-through')


def delete_each(bench: Bench) -> str:
    """The whole chain, the last one first."""
    for link in reversed(bench.links):
        bench.delete(link)
    return f'{len(bench.links)} links'


def delete_while_made(bench: Bench) -> str:
    """Forced, at some moment of the backup; the next one is whole."""
    before = bench.guest.state()
    backup = bench.storage.create_backup(volume_id=bench.volume, force=True)
    link = benches.Link(backup.id, bench.links[-1].promised, {})
    time.sleep(2)
    said = ''
    try:
        bench.delete(link, force=True)
    except openstack.exceptions.HttpException as error:
        # As without the plugin: of Cinder's drivers this one cannot.
        if bench.driver != 'ceph' or error.status_code != 405:
            raise
        said = 'refused, as it is by stock; deleted afterwards; next: '
        bench.stage.await_backup(backup.id)
        bench.delete(link)
    bench.await_idle()
    if bench.guest.state() != before:
        raise console.CloudError('the guest is not as it was')
    following = bench.back_up()
    bench.delete(following)
    return said + _level(following, 'write-through')


ALL = (full_of_stock, incremental, services_and_upgrade_check,
       incremental_again, restore_each, restore_over, of_a_snapshot,
       continued_by_stock, import_to_stock, import_back, delete_each,
       delete_while_made)


def _chained(bench: Bench, link: benches.Link, level: str) -> str:
    said = _level(link, level)
    bench.links.append(link)
    return said if bench.chains or not level else f'full: {said}'


def _level(link: benches.Link, wanted: str) -> str:
    """Return what a backup claims, if it is what it has to claim."""
    found = link.metadata.get('wt:level', '')
    if found != wanted:
        raise console.CloudError(f'{found or "no level"}, not '
                                 f'{wanted or "none"}: {link.metadata}')
    if not found:
        return 'no keys'
    return f'{found}, {int(link.metadata["wt:window_ms"]) / 1000:.1f} s'
