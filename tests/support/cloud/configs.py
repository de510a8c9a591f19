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

"""Writes every service's configuration from the templates beside it."""

from collections.abc import Mapping
import configparser
import pathlib
import string

from tests.support.cloud import layout

TRANSPORT = (f'rabbit://openstack:{layout.PASSWORD}@{layout.ADDRESS}:'
             f'{layout.PORTS["rabbitmq"]}/')
# The services' accounts at Keystone.
ACCOUNTS = ('cinder', 'glance', 'nova', 'placement')

MARIADB_CONF = layout.ETC / 'my.cnf'
QEMU_CONF = layout.ETC / 'libvirt' / 'qemu.conf'
RABBITMQ = layout.ETC / 'rabbitmq'

_FILES = {
    layout.CEPH_CONF: ('ceph.conf',),
    layout.CINDER_CONF: ('cinder.conf',),
    layout.ETC / 'cinder' / 'rootwrap.conf': ('rootwrap.conf',),
    layout.GLANCE_CONF: ('glance-api.conf',),
    layout.KEYSTONE_CONF: ('keystone.conf',),
    layout.LIBVIRTD_CONF: ('libvirtd.conf',),
    MARIADB_CONF: ('my.cnf',),
    # nova-compute refuses to know a database.
    layout.NOVA_CPU_CONF: ('nova-cpu.conf',),
    layout.NOVA_CONF: ('nova-cpu.conf', 'nova-databases.conf'),
    layout.ETC / 'nova' / 'rootwrap.conf': ('rootwrap.conf',),
    layout.PLACEMENT_CONF: ('placement.conf',),
    QEMU_CONF: ('qemu.conf',),
    RABBITMQ / 'enabled_plugins': ('enabled_plugins',),
    RABBITMQ / 'rabbitmq.conf': ('rabbitmq.conf',),
    layout.BIN / 'sudo': ('sudo',),
    layout.BIN / 'mount-share': ('mount-share',),
}
_DIRECTORIES = (
    'ceph/crash', 'ceph/mgr', 'ceph/mon', 'ceph/osd', 'cinder/backup',
    'cinder/conversion', 'cinder/coordination', 'cinder/locks', 'gcs',
    'glance/locks', 'glance/staging', 'glance/tasks', 'keystone/credential',
    'keystone/fernet', 'nova/instances', 'nova/locks', 'rabbitmq',
)


def write() -> None:
    """Make the directories and write all configuration files."""
    for path in (layout.BIN, layout.DONE, layout.LOG, layout.RUN,
                 layout.SOCKETS, *map(layout.DATA.joinpath, _DIRECTORIES)):
        path.mkdir(parents=True, exist_ok=True)
    values = _values()
    for path, templates in _FILES.items():
        text = ''.join((layout.TEMPLATES / name).read_text()
                       for name in templates)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(string.Template(text).substitute(values))
    for program in ('sudo', 'mount-share'):
        (layout.BIN / program).chmod(0o755)


def backup_overlay(host: str) -> pathlib.Path:
    """What one cinder-backup has on top of cinder.conf."""
    return layout.ETC / 'cinder' / f'backup-{host}.conf'


def write_backup_overlay(
        host: str, options: Mapping[str, Mapping[str, str]]) -> None:
    """Write the overlay: options by section, besides the host's name."""
    overlay = configparser.RawConfigParser(default_section='')
    overlay.read_dict({'DEFAULT': {'host': host}})
    overlay.read_dict(options)
    with backup_overlay(host).open('w') as out:
        overlay.write(out)


def _values() -> dict[str, str]:
    values = {name: str(value) for name, value in vars(layout).items()
              if name.isupper()}
    for service, port in layout.PORTS.items():
        values['port_' + service.replace('-', '_')] = str(port)
    for name in ACCOUNTS:
        values[f'as_{name}'] = _account(name)
    return values | {
        'database': f'mysql+pymysql://openstack:{layout.PASSWORD}@'
                    f'{layout.ADDRESS}:{layout.PORTS["mariadb"]}',
        'token_checks': 'service_token_roles = service\n'
                        'service_token_roles_required = true',
        'transport': TRANSPORT,
        'url_glance': layout.url('glance'),
    }


def _account(name: str) -> str:
    return '\n'.join((
        f'www_authenticate_uri = {layout.url("keystone")}',
        f'auth_url = {layout.url("keystone", "/v3")}',
        'auth_type = password',
        f'username = {name}',
        f'password = {layout.PASSWORD}',
        'project_name = service',
        'user_domain_name = Default',
        'project_domain_name = Default',
        f'region_name = {layout.REGION}',
    ))
