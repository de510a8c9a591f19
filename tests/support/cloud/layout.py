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

"""Where everything lies and listens. Standard library only."""

import hashlib
import os
import pathlib
import socket

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = pathlib.Path(__file__).resolve().parent
TEMPLATES = HERE / 'templates'

# Kept when the cloud is destroyed.
CACHE = ROOT / '.cache'
VENV = CACHE / 'venv'
PYTHON = VENV / 'bin' / 'python'
WHEELS = CACHE / 'wheels'
RELEASES = CACHE / 'releases'
SYSTEMS = CACHE / 'systems'
# Cinder's services are of this release (see environment.py), or of VENV.
RELEASE = os.environ.get('CINDER_RELEASE', '')
CINDER_VENV = RELEASES / RELEASE if RELEASE else VENV
INSTALL_LOG = CACHE / 'log'
GUEST = CACHE / 'guest'
ROOTFS = GUEST / 'rootfs.raw'
KERNEL = GUEST / 'vmlinuz'
INITRD = GUEST / 'initrd.img'

# The running cloud.
CLOUD = ROOT / '.cloud'
BIN = CLOUD / 'bin'
DATA = CLOUD / 'data'
DONE = CLOUD / 'done'
ETC = CLOUD / 'etc'
LOG = CLOUD / 'log'
RUN = CLOUD / 'run'

# A socket's path has at most 107 bytes, and a clone may lie deep down: the
# sockets have a short directory of their own, one for each clone.
SOCKETS = pathlib.Path(
    '/run', 'wtcloud-' + hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:8])
MARIADB_SOCKET = SOCKETS / 'mariadb.sock'

CEPH_CONF = ETC / 'ceph.conf'
CINDER_CONF = ETC / 'cinder' / 'cinder.conf'
GLANCE_CONF = ETC / 'glance' / 'glance-api.conf'
KEYSTONE_CONF = ETC / 'keystone' / 'keystone.conf'
NOVA_CONF = ETC / 'nova' / 'nova.conf'
NOVA_CPU_CONF = ETC / 'nova' / 'nova-cpu.conf'
PLACEMENT_CONF = ETC / 'placement' / 'placement.conf'
LIBVIRTD_CONF = ETC / 'libvirt' / 'libvirtd.conf'
BACKUP_POSIX = DATA / 'cinder' / 'backup'

# Everything listens here, and the one compute and storage host is called so.
ADDRESS = '127.0.0.1'
HOST = 'vm'
REGION = 'RegionOne'

PORTS = {
    'mariadb': 3306,
    'epmd': 4369,
    'rabbitmq': 5672,
    'ceph-mon': 6789,
    'radosgw': 7480,
    'gcs': 9023,
    'libvirtd': 16509,
    'keystone': 5000,
    'glance': 9292,
    'placement': 8778,
    'network': 9696,
    'nova-api': 8774,
    'cinder-api': 8776,
}
RABBITMQ_DISTRIBUTION_PORT = 25672
CEPH_MON_V2_PORT = 3300

# This cloud listens on the loopback only and holds nothing worth stealing.
PASSWORD = 'secret'
CEPH_FSID = '5b7c3a2e-1f6d-4c55-9f0a-000000000001'
# The object store's one account; Swift and S3 see the same.
STORE_USER = 'wt'
CEPH_SECRET = '5b7c3a2e-1f6d-4c55-9f0a-0000000000aa'
# The one key of Cinder's and Nova's simplest key manager.
FIXED_KEY = '0123456789abcdef' * 4
HOST_UUID = '5b7c3a2e-1f6d-4c55-9f0a-0000000000bb'

LIBVIRT_URI = 'qemu:///system'
LIBVIRT_TCP_URI = f'qemu+tcp://{ADDRESS}/system'


def url(service: str, path: str = '') -> str:
    """The address of an HTTP service of this cloud."""
    return f'http://{ADDRESS}:{PORTS[service]}{path}'


def log_file(name: str) -> pathlib.Path:
    """The log of a service or of a step that sets something up."""
    return LOG / f'{name}.log'


def listens(service: str) -> bool:
    """Whether a service's port takes connections; false without a port."""
    if service not in PORTS:
        return False
    try:
        with socket.create_connection((ADDRESS, PORTS[service]), timeout=5):
            return True
    except OSError:
        return False
