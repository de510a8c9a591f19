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

"""The OpenStack command, as a user has it."""

import json
import os
import subprocess
import typing

from tests.support.cloud import accounts
from tests.support.cloud import console
from tests.support.cloud import layout


def openstack(*argv: str) -> typing.Any:
    """Run it as the cloud's administrator; return what it shows.

    :raises CloudError: with what it complained about
    """
    console.say(' '.join(('$ openstack', *argv)))
    done = subprocess.run(
        (layout.VENV / 'bin' / 'openstack', *argv, '-f', 'json'), text=True,
        capture_output=True, env=os.environ | accounts.CREDENTIALS)
    if done.returncode:
        raise console.CloudError(f'openstack {" ".join(argv)}: '
                                 f'{done.stderr.strip()}')
    return json.loads(done.stdout)
