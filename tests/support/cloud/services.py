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

"""The table of all services and steps, and what each of them needs."""

from collections.abc import Callable
import pathlib
import urllib.error
import urllib.request

from tests.support.cloud import accounts
from tests.support.cloud import backup
from tests.support.cloud import ceph
from tests.support.cloud import configs
from tests.support.cloud import console
from tests.support.cloud import database
from tests.support.cloud import graph
from tests.support.cloud import hypervisor
from tests.support.cloud import image
from tests.support.cloud import layout
from tests.support.cloud import outside
from tests.support.cloud import process
from tests.support.cloud import resources

_VENV_BIN = layout.VENV / 'bin'
_RABBITMQ_ENVIRONMENT = {
    'ERL_EPMD_ADDRESS': layout.ADDRESS,
    'RABBITMQ_CONFIG_FILE': configs.RABBITMQ / 'rabbitmq.conf',
    'RABBITMQ_CONF_ENV_FILE': '/dev/null',
    'RABBITMQ_DIST_PORT': layout.RABBITMQ_DISTRIBUTION_PORT,
    'RABBITMQ_ENABLED_PLUGINS_FILE': configs.RABBITMQ / 'enabled_plugins',
    'RABBITMQ_LOG_BASE': layout.LOG,
    'RABBITMQ_MNESIA_BASE': layout.DATA / 'rabbitmq',
    'RABBITMQ_NODENAME': 'wtcloud@localhost',
    'RABBITMQ_PID_FILE': layout.RUN / 'rabbitmq-own.pid',
    'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
        '+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none',
    # Makes its start script become the server instead of watching it.
    'RUNNING_UNDER_SYSTEMD': 'true',
}


def table() -> dict[str, graph.Node]:
    """All nodes by name, in the order in which they are shown.

    What a service waits for anyway also delays its data: the few cores then
    work for those that wait for nothing else.
    """
    nodes = [*_infrastructure(), *_identity(), *_images(), *_volumes(),
             *_computes()]
    nodes += [_backup(host) for host in backup.hosts()]
    return {node.name: node for node in nodes}


def _infrastructure() -> list[graph.Node]:
    step, service, daemon = graph.Step, graph.Service, process.Daemon
    ready = ('prepare',)
    return [
        step('prepare', _prepare, once=False),
        step('mariadb-data', database.install, ready),
        service('mariadb', daemon('mariadb', [
            '/usr/sbin/mariadbd', f'--defaults-file={configs.MARIADB_CONF}']),
            database.is_ready, ('mariadb-data',)),
        step('databases', database.create, ('mariadb',)),
        service('epmd', daemon('epmd', [
            '/usr/bin/epmd', '-address', layout.ADDRESS]),
            _listens('epmd'), ready),
        service('rabbitmq', daemon(
            'rabbitmq', ['/usr/lib/rabbitmq/bin/rabbitmq-server'],
            {key: str(value) for key, value in _RABBITMQ_ENVIRONMENT.items()},
            mark='rabbit'), _listens('rabbitmq'), ('epmd',)),
        step('ceph-mon-data', ceph.create_monitor, ready),
        service('ceph-mon', _ceph('mon', 'a'), ceph.monitor_is_ready,
                ('ceph-mon-data',)),
        step('ceph-mgr-data', ceph.create_manager, ('ceph-mon',)),
        service('ceph-mgr', _ceph('mgr', 'x'), ceph.manager_is_ready,
                ('ceph-mgr-data',)),
        step('ceph-osd-data', ceph.create_disk, ('ceph-mon',)),
        service('ceph-osd', _ceph('osd', '0'), ceph.disk_is_ready,
                ('ceph-osd-data',)),
        step('ceph-pools', ceph.create_pools, ('ceph-osd',)),
        step('store-data', ceph.create_store, ('ceph-pools',)),
        service('radosgw', daemon('radosgw', [
            '/usr/bin/radosgw', '-f', '-c', layout.CEPH_CONF, '-n',
            'client.rgw', '--rgw-frontends', f'beast endpoint='
            f'{layout.ADDRESS}:{layout.PORTS["radosgw"]}']),
            _answers('radosgw'), ('store-data',)),
        service('gcs', daemon('gcs', [
            _VENV_BIN / 'gcp-storage-emulator', '-d', layout.DATA / 'gcs',
            'start', '--quiet', '--host', layout.ADDRESS, '--port',
            str(layout.PORTS['gcs'])], mark='gcp-storage'),
            _listens('gcs'), ready),
        service('libvirtd', daemon('libvirtd', [
            '/usr/sbin/libvirtd', '--listen', '--config',
            layout.LIBVIRTD_CONF, '--pid-file',
            layout.RUN / 'libvirtd-own.pid']),
            hypervisor.is_ready, ready, in_use=hypervisor.is_ready),
    ]


def _identity() -> list[graph.Node]:
    return [
        graph.Step('keystone-data', database.sync_keystone, ('databases',)),
        _wsgi('keystone', 'keystone.wsgi.api:application', ('keystone-data',),
              OS_KEYSTONE_CONFIG_FILES=str(layout.KEYSTONE_CONF)),
        graph.Step('accounts', accounts.create, ('keystone',)),
    ]


def _images() -> list[graph.Node]:
    return [
        graph.Step('glance-data', database.sync_glance, ('keystone-data',)),
        _wsgi('glance', 'glance.wsgi.api:application',
              ('glance-data', 'accounts', 'ceph-pools'),
              OS_GLANCE_CONFIG_DIR=str(layout.GLANCE_CONF.parent)),
        graph.Step('guest-image', image.GUEST.ensure, ('prepare',),
                   once=False),
        graph.Step('images', resources.create_images,
                   ('glance', 'guest-image')),
    ]


def _volumes() -> list[graph.Node]:
    storage = ('cinder-scheduler', 'ceph-pools', 'ceph-mgr', 'accounts')
    return [
        graph.Step('cinder-data', database.sync_cinder, ('databases',)),
        _agent('cinder-scheduler', layout.CINDER_CONF,
               ('cinder-data', 'rabbitmq')),
        # Without a scheduler its first answer takes a minute.
        _wsgi('cinder-api', _cinder_api(), ('cinder-scheduler', 'accounts'),
              pyargv=f'--config-file {layout.CINDER_CONF}',
              venv=layout.CINDER_VENV),
        _agent('cinder-volume', layout.CINDER_CONF, storage, host='vm@ceph'),
        _backup(layout.HOST),
        graph.Step('volume-types', resources.create_volume_types,
                   ('cinder-api',)),
    ]


def _computes() -> list[graph.Node]:
    ready = ('nova-data', 'rabbitmq', 'placement')
    paste = layout.VENV / 'etc' / 'nova' / 'api-paste.ini'
    return [
        graph.Step('nova-data', database.sync_nova, ('databases',)),
        graph.Step('placement-data', database.sync_placement,
                   ('keystone-data',)),
        _wsgi('placement', 'placement.wsgi.api:application',
              ('placement-data', 'accounts'),
              OS_PLACEMENT_CONFIG_DIR=str(layout.PLACEMENT_CONF.parent)),
        _wsgi('network', 'tests.support.cloud.network:application',
              ('prepare',), PYTHONPATH=str(layout.ROOT)),
        # They may end if they meet a Placement that is just starting.
        _agent('nova-conductor', layout.NOVA_CONF, ready),
        _agent('nova-scheduler', layout.NOVA_CONF, ready),
        _wsgi('nova-api', 'nova.wsgi.osapi_compute:application',
              ('nova-conductor', 'accounts'),
              OS_NOVA_CONFIG_FILES=f'{paste};{layout.NOVA_CONF}'),
        graph.Step('old-servers', hypervisor.forget, ('libvirtd',)),
        # Servers run from here on, and end before their disks do.
        graph.Step('hypervisor', hypervisor.set_secret,
                   ('libvirtd', 'ceph-pools', 'old-servers'), once=False,
                   undo=_shut_down_servers),
        _agent('nova-compute', layout.NOVA_CPU_CONF, (
            'nova-conductor', 'network', 'glance', 'cinder-api', 'hypervisor',
            'ceph-mgr')),
        graph.Step('compute-host', _wait_for_compute,
                   ('nova-compute', 'nova-scheduler')),
        graph.Step('flavor', resources.create_flavor, ('nova-api',)),
    ]


def _prepare() -> None:
    configs.write()
    backup.ensure_options(layout.HOST)
    outside.change()


def _ceph(kind: str, ident: str) -> process.Daemon:
    return process.Daemon(f'ceph-{kind}', [
        f'/usr/bin/ceph-{kind}', '-f', '-c', layout.CEPH_CONF, '-i', ident])


def _cinder_api() -> str:
    """Return where its application is: in a function, before 2025.1."""
    found = list(layout.CINDER_VENV.glob('lib/*/*/cinder/wsgi/api.py'))
    return ('cinder.wsgi.api:application' if found else
            'cinder.wsgi.wsgi:initialize_application()')


def _wsgi(name: str, module: str, needs: tuple[str, ...], pyargv: str = '',
          venv: pathlib.Path = layout.VENV, **env: str) -> graph.Service:
    argv = [f'{_VENV_BIN}/uwsgi', '--http-socket',
            f'{layout.ADDRESS}:{layout.PORTS[name]}', '--virtualenv', venv,
            '--module', module, '--processes', '1', '--threads', '8',
            '--enable-threads', '--lazy-apps', '--need-app', '--die-on-term',
            '--buffer-size', '65535', '--add-header', 'Connection: close',
            '--http-chunked-input', '--disable-logging']
    if pyargv:
        argv += ['--pyargv', pyargv]
    return graph.Service(name, process.Daemon(name, argv, env),
                         _answers(name), needs)


def _agent(name: str, conf: object, needs: tuple[str, ...],
           host: str = layout.HOST) -> graph.Service:
    cinder = name.startswith('cinder-')
    venv = layout.CINDER_VENV if cinder else layout.VENV
    daemon = process.Daemon(
        name, [venv / 'bin' / name, '--config-file', str(conf)],
        {'PYTHONPATH': str(layout.ROOT), **process.CINDER} if cinder else {},
        mark=name)
    alive = database.Heartbeat(name.partition('-')[0], name, host)
    return graph.Service(name, daemon, alive, needs)


def _backup(host: str) -> graph.Service:
    return graph.Service(
        backup.name_of(host), backup.daemon(host),
        backup.Ready(host),
        ('cinder-scheduler', 'ceph-pools', 'accounts'))


def _listens(name: str) -> Callable[[float], bool]:
    return lambda _since: layout.listens(name)


def _answers(name: str) -> Callable[[float], bool]:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ready(_since: float) -> bool:
        try:
            with direct.open(layout.url(name), timeout=30):
                return True
        except urllib.error.HTTPError as err:
            return err.code < 500
    return ready


def _wait_for_compute() -> None:
    console.wait_for('the compute host in its cell',
                     database.compute_is_mapped, 60)


def _shut_down_servers() -> None:
    """Shut down the servers, unless libvirt is another clone's cloud's."""
    libvirtd = table()['libvirtd']
    if isinstance(libvirtd, graph.Service) and libvirtd.daemon.pid:
        hypervisor.shut_down_servers()
