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

"""A compute host whose libvirt is reached over ssh."""

from __future__ import annotations

import pathlib
import subprocess
import time

from tests.support.cloud import layout
from tests.support.machines import second_host

# The program of OpenSSH, and a library in its place.
TRANSPORTS = ('ssh', 'libssh')
# Not Nova's: it may do what libvirt's group may, and has nothing.
LOGIN = 'wt-backup'
_SSHD_CONFIG = f"""
ListenAddress {layout.ADDRESS}:{{port}}
HostKey {{folder}}/host_key
AuthorizedKeysFile /run/libvirt/authorized_keys
AllowUsers {LOGIN}
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
"""
# Only the second host has the login and, as the README recommends it, its key.
_START = f"""
group=$(getent group libvirt | cut -d : -f 3)
{{ cat /etc/passwd; echo "{LOGIN}:*:4242:$group::/:/bin/sh"; }} > "$1/passwd"
mount --bind "$1/passwd" /etc/passwd
{{ printf 'restrict,command="virt-ssh-helper qemu:///system" '
  cat "$1/login_key.pub"; }} > /run/libvirt/authorized_keys
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e -f "$1/sshd_config"
"""
# qemu+ssh has no parameter for known hosts: a user's are in his home.
_SSH = """#!/bin/sh
exec ssh -F none -o UserKnownHostsFile={folder}/known_hosts \\
    -o GlobalKnownHostsFile=none -o IdentitiesOnly=yes "$@"
"""


class SshHost(second_host.SecondHost):
    """A libvirtd, and an sshd with one login and one key for it.

    :ivar ssh_port: where it listens
    """

    group = 'libvirt'

    def _setUp(self) -> None:
        super()._setUp()
        self.ssh_port = second_host.free_port()
        (self.folder / 'sshd_config').write_text(_SSHD_CONFIG.format(
            port=self.ssh_port, folder=self.folder))
        (self.folder / 'ssh').write_text(_SSH.format(folder=self.folder))
        (self.folder / 'ssh').chmod(0o755)
        self._login_key = self.make_key('login_key')
        self.know(self.make_key('host_key'))
        self._start_sshd()
        self.addCleanup(self._stop_sshd)
        self._wait_for_sshd()

    def make_key(self, name: str) -> pathlib.Path:
        """Return a new private key; its public one lies beside it."""
        path = self.folder / name
        subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f',
                        str(path)], check=True)
        return path

    def know(self, key: pathlib.Path | None) -> None:
        """Have the client know this host key of it, or none."""
        public = key.with_suffix('.pub').read_text() if key else ''
        (self.folder / 'known_hosts').write_text(
            public and f'[{layout.ADDRESS}]:{self.ssh_port} {public}')

    def ssh_uri(self, transport: str, key: pathlib.Path | None = None,
                name: str = layout.ADDRESS) -> str:
        """Return the URI of it.

        :param key: what the client says it is; none: the right one
        :param name: what the host is called
        """
        more = {'ssh': f'no_verify=0&no_tty=1&command={self.folder}/ssh',
                'libssh': f'sshauth=privkey&known_hosts_verify=normal&'
                          f'known_hosts={self.folder}/known_hosts'}[transport]
        return (f'qemu+{transport}://{LOGIN}@{name}:{self.ssh_port}/system?'
                f'{more}&keyfile={key or self._login_key}')

    def _start_sshd(self) -> None:
        with open(self.folder / 'sshd.log', 'w') as log:
            self._sshd = subprocess.Popen(
                ['nsenter', '--mount', '--uts', '--target',
                 str(self._libvirtd.pid), 'sh', '-ec', _START, 'sshd',
                 str(self.folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _stop_sshd(self) -> None:
        self._sshd.terminate()
        self._sshd.wait(30)

    def _wait_for_sshd(self) -> None:
        end = time.monotonic() + second_host.STARTS_WITHIN
        log = self.folder / 'sshd.log'
        while 'Server listening' not in log.read_text():
            if time.monotonic() > end or self._sshd.poll() is not None:
                raise RuntimeError(f'sshd does not start: {log.read_text()}')
            time.sleep(0.1)
