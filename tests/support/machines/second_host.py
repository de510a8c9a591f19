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

"""Another compute host on this machine, such as live migrations go to."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import fixtures
import libvirt

from tests.support.cloud import layout

STARTS_WITHIN = 60
# libvirt refuses to migrate to a host of the same name or UUID, and keeps its
# state where the first one does: hence a host name and folders of its own.
# SASL looks that name up, which no name server should have to answer.
_START = f"""
hostname wt-second
for folder in etc/libvirt run/libvirt var/lib/libvirt var/log/libvirt \
        var/cache/libvirt; do
    mkdir -p "/$folder" "$1/$folder"
    mount --bind "$1/$folder" "/$folder"
done
{{ cat /etc/hosts; echo "{layout.ADDRESS} wt-second"; }} > "$1/hosts"
mount --bind "$1/hosts" /etc/hosts
cp "$1/qemu.conf" /etc/libvirt/
exec /usr/sbin/libvirtd --listen --config "$1/libvirtd.conf" \
    --pid-file "$1/libvirtd.pid"
"""
_LIBVIRTD_CONF = f"""
listen_tls = {{tls}}
listen_tcp = 1
listen_addr = "{layout.ADDRESS}"
tcp_port = "{{port}}"
auth_tcp = "{{auth}}"
unix_sock_group = "{{group}}"
unix_sock_rw_perms = "0770"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "5b7c3a2e-1f6d-4c55-9f0a-0000000000cc"
"""


class SecondHost(fixtures.Fixture):
    """Another libvirtd, in mount and UTS namespaces of its own.

    It sees the same files: storage that is shared, as for a live migration.

    :cvar auth: who may connect, in libvirtd's words
    :cvar tls: whether it listens with TLS too
    :cvar group: who on it may connect
    :ivar uri: where it listens, without
    :ivar folder: what it has of its own
    """

    auth = 'none'
    tls = 0
    group = 'root'

    def _setUp(self) -> None:
        layout.CLOUD.mkdir(exist_ok=True)
        self.folder = folder = pathlib.Path(tempfile.mkdtemp(
            prefix='second-host-', dir=layout.CLOUD))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        port = free_port()
        self.uri = f'qemu+tcp://{layout.ADDRESS}:{port}/system'
        (folder / 'libvirtd.conf').write_text(
            _LIBVIRTD_CONF.format(port=port, auth=self.auth, tls=self.tls,
                                  group=self.group)
            + self._more(folder))
        shutil.copyfile(layout.TEMPLATES / 'qemu.conf', folder / 'qemu.conf')
        self._start()
        self.addCleanup(self._stop)

    def _start(self) -> None:
        with open(self.folder / 'log', 'a') as log:
            self._libvirtd = subprocess.Popen(
                ['unshare', '--mount', '--uts', '--propagation', 'private',
                 'sh', '-ec', _START, 'second-host', str(self.folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                # Read by SASL only, where there is nothing for others.
                env=os.environ | {'SASL_CONF_PATH': str(self.folder)},
                start_new_session=True)
        try:
            self._wait()
        except BaseException:
            self._end()
            raise

    def _more(self, folder: pathlib.Path) -> str:
        """Return further lines of its configuration; make what they name."""
        return ''

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Have it answer nobody, as by SIGSTOP, while the body runs."""
        self._libvirtd.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._libvirtd.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """End its libvirtd and start it again."""
        self._end()
        self._start()

    def connect(self) -> libvirt.virConnect:
        """Return a connection, past the plugin."""
        return libvirt.open(self.uri)

    def _stop(self) -> None:
        # Guests outlive their libvirtd, and nobody else knows these.
        with contextlib.suppress(libvirt.libvirtError):
            for domain in self.connect().listAllDomains():
                domain.destroy()
        self._end()

    def _end(self) -> None:
        self._libvirtd.terminate()
        try:
            self._libvirtd.wait(30)
        except subprocess.TimeoutExpired:
            self._libvirtd.kill()
            self._libvirtd.wait()

    def _wait(self) -> None:
        end = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                self.connect().close()
                return
            except libvirt.libvirtError:
                if time.monotonic() > end or self._libvirtd.poll() is not None:
                    raise
            time.sleep(0.2)


def free_port() -> int:
    with socket.create_server((layout.ADDRESS, 0)) as server:
        return int(server.getsockname()[1])
