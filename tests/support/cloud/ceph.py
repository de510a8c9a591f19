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

"""A Ceph cluster of one monitor, one manager and one disk, a sparse file."""

from collections.abc import Iterator
import contextlib
import json
import pathlib
import shutil

import rados
import rbd

from tests.support.cloud import console
from tests.support.cloud import layout

POOLS = ('volumes', 'images', 'vms', 'backups')
_ALL = 'allow *'
_USERS = {
    'glance': {'osd': 'profile rbd pool=images'},
    'cinder': {'osd': 'profile rbd pool=volumes, profile rbd pool=vms, '
                      'profile rbd pool=images',
               'mgr': 'profile rbd pool=volumes'},
    'cinder-backup': {'osd': 'profile rbd pool=backups, '
                             'profile rbd pool=volumes'},
}
_OSD_UUID = '5b7c3a2e-1f6d-4c55-9f0a-0000000000cc'
_DATA = layout.DATA / 'ceph'
_LOG = layout.log_file('ceph-setup')
_PATIENCE = {'client_mount_timeout': '5', 'rados_mon_op_timeout': '30'}
_CONF = ('-c', layout.CEPH_CONF)


def create_monitor() -> None:
    """Make the first keys and the monitor's data."""
    keyring = _DATA / 'mon.keyring'
    admin = _keyring('admin')
    monmap = _DATA / 'monmap'
    data = _empty('mon')
    caps = [arg for name in ('mon', 'osd', 'mds', 'mgr')
            for arg in ('--cap', name, _ALL)]
    for path, name, granted in ((keyring, 'mon.', ['--cap', 'mon', _ALL]),
                                (admin, 'client.admin', caps)):
        console.run('ceph-authtool', '--create-keyring', path, '--gen-key',
                    '-n', name, *granted, log=_LOG)
    console.run('ceph-authtool', keyring, '--import-keyring', admin, log=_LOG)
    console.run('monmaptool', '--create', '--clobber',
                '--fsid', layout.CEPH_FSID, '--addv', 'a',
                f'[v2:{layout.ADDRESS}:{layout.CEPH_MON_V2_PORT},'
                f'v1:{layout.ADDRESS}:{layout.PORTS["ceph-mon"]}]',
                monmap, log=_LOG)
    console.run('ceph-mon', *_CONF, '--mkfs', '-i', 'a', '--monmap', monmap,
                '--keyring', keyring, log=_LOG)
    shutil.copyfile(keyring, data / 'keyring')


def create_manager() -> None:
    """Make the manager's key."""
    key = monitor('auth get-or-create', entity='mgr.x', caps=[
        'mon', 'allow profile mgr', 'osd', _ALL, 'mds', _ALL])
    (_empty('mgr') / 'keyring').write_text(key)


def create_disk() -> None:
    """Make the disk's key and its data."""
    data = _empty('osd')
    secret = console.output('ceph-authtool', '--gen-print-key').strip()
    monitor('osd purge-new', id=0, yes_i_really_mean_it=True)
    monitor('osd new', given=json.dumps({'cephx_secret': secret}),
            uuid=_OSD_UUID)
    console.run('ceph-authtool', '--create-keyring', data / 'keyring',
                '--name', 'osd.0', '--add-key', secret, log=_LOG)
    console.run('ceph-osd', *_CONF, '-i', '0', '--mkfs', '--osd-uuid',
                _OSD_UUID, log=_LOG)


def create_pools() -> None:
    """Make the pools of block devices and the services' keys."""
    for pool in POOLS:
        monitor('osd pool create', pool=pool, pg_num=8, pgp_num=8)
        with _cluster() as cluster, cluster.open_ioctx(pool) as pool_io:
            rbd.RBD().pool_init(pool_io, True)
    for user, caps in _USERS.items():
        granted = [text for cap in ({'mon': 'profile rbd'} | caps).items()
                   for text in cap]
        _keyring(user).write_text(monitor(
            'auth get-or-create', entity=f'client.{user}', caps=granted))


def create_store() -> None:
    """Make the object store's key and account."""
    _keyring('rgw').write_text(monitor(
        'auth get-or-create', entity='client.rgw',
        caps=['mon', 'allow rw', 'osd', 'allow rwx']))
    user = f'--uid={layout.STORE_USER}'
    swift = f'--subuser={layout.STORE_USER}:swift'
    for command in (
            ('user', 'create', user, f'--display-name={layout.STORE_USER}',
             f'--access-key={layout.STORE_USER}',
             f'--secret-key={layout.PASSWORD}'),
            ('subuser', 'create', user, swift, '--access=full'),
            ('key', 'create', swift, '--key-type=swift',
             f'--secret-key={layout.PASSWORD}')):
        console.run('radosgw-admin', *_CONF, *command, log=_LOG)


def monitor_is_ready(_since: float) -> bool:
    """Whether the monitor answers."""
    return bool(monitor('fsid'))


def manager_is_ready(_since: float) -> bool:
    """Whether the manager is the active one."""
    return bool(json.loads(monitor('mgr stat', format='json'))['available'])


def disk_is_ready(_since: float) -> bool:
    """Whether the disk is up and in."""
    found = json.loads(monitor('osd stat', format='json'))
    return (found['num_up_osds'], found['num_in_osds']) == (1, 1)


def key_of(user: str) -> str:
    """A user's secret key."""
    return monitor('auth get-key', entity=f'client.{user}').strip()


def monitor(command: str, given: str = '', **arguments: object) -> str:
    """What the monitor answers to a command. OSError when it does not."""
    request = {'prefix': command, **arguments}
    with _cluster() as cluster:
        status, answer, error = cluster.mon_command(
            json.dumps(request), given.encode(), timeout=30)
    if status:
        raise OSError(-status, f'ceph {command}: {error}')
    return str(answer, 'utf-8')


def purge_snapshots(image: str) -> None:
    """Remove all snapshots of an image, POOL/NAME."""
    console.run('rbd', *_CONF, '--no-progress', 'snap', 'purge', image,
                log=_LOG)


@contextlib.contextmanager
def _cluster() -> Iterator[rados.Rados]:
    if not _keyring('admin').exists():
        raise FileNotFoundError(_keyring('admin'))
    try:
        cluster = rados.Rados(name='client.admin', conf=_PATIENCE,
                              conffile=str(layout.CEPH_CONF))
        cluster.connect()
    except rados.Error as err:
        raise ConnectionError(str(err)) from err
    try:
        yield cluster
    finally:
        cluster.shutdown()


def _keyring(user: str) -> pathlib.Path:
    return layout.ETC / f'ceph.client.{user}.keyring'


def _empty(daemon: str) -> pathlib.Path:
    path = _DATA / daemon
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
