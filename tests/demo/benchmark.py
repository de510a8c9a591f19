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

"""``make benchmark``: how long a window takes on a guest of the test cloud.

Boots a server with a mounted volume in the test cloud and runs the operator's
own command, ``cinder-wt-backup benchmark``, on it: once with little dirty,
once while the guest has some hundred megabytes of it.
"""

import os
import subprocess
import sys

from tests.cloud import cloud
from tests.cloud import console
from tests.cloud import layout
from tests.demo import disk
from tests.demo import scenario
from tests.demo import stage
from tests.workload import host

MEMORY_MIB = 1024
DIRTY_MIB = 300
ROUNDS = 5


def main() -> int:
    """Measure and print."""
    cloud.up()
    with (cloud.connect() as connection,
          stage.Stage(connection, keep=False) as scene):
        console.say('booting a server')
        guest = scene.boot(MEMORY_MIB)
        disk.keep_dirty_pages(guest)
        volume = scene.volume(1)
        device = scene.attach(volume)
        scene.callback(scene.detach, volume)
        disk.make_filesystem(guest, device, 'ext4')
        with disk.mounted(guest, device):
            console.say('idle guest, ext4 on an RBD volume')
            _measure(volume, ROUNDS)
            load = host.Workload(guest, disk.MOUNT)
            load.start()
            try:
                load.fill(DIRTY_MIB)
                console.say(f'{disk.dirty_mib(guest)} MiB dirty, and written '
                            f'to all the time')
                _measure(volume, 1)
            finally:
                load.stop()
    return 0


def _measure(volume: str, rounds: int) -> None:
    options = layout.ETC / 'cinder' / 'benchmark.conf'
    options.write_text('[write_through]\n' + ''.join(
        f'{name} = {value}\n' for name, value
        in scenario.PLUGIN['write_through'].items()))
    subprocess.run(
        (layout.VENV / 'bin' / 'cinder-wt-backup', '--config-file',
         layout.CINDER_CONF, '--config-file', options, 'benchmark',
         '--rounds', str(rounds), volume), check=True,
        env=os.environ | {'PYTHONWARNINGS': 'ignore'})


if __name__ == '__main__':
    sys.exit(main())
