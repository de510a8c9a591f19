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

"""python3 -m tests.support.cloud: see README.md beside this file."""

import argparse
import os
import sys

from tests.support.cloud import console
from tests.support.cloud import image
from tests.support.cloud import install
from tests.support.cloud import layout


def main() -> int:
    """Do what the command line says."""
    arguments = _parser().parse_args()
    try:
        if sys.prefix != str(layout.VENV):
            install.everything()
            os.chdir(layout.ROOT)
            os.execv(layout.PYTHON, [
                str(layout.PYTHON), '-W', 'ignore', '-m',
                'tests.support.cloud', *sys.argv[1:]])
        return arguments.run(arguments) or 0
    except console.CloudError as err:
        print(f'error: {err}', file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python3 -m tests.support.cloud',
                                     description='A cloud for tests.')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        return command

    add('install', _install, 'packages, virtual environment, guest image')
    add('up', _up, 'bring up all services, or some and what they need'
        ).add_argument('service', nargs='*')
    add('status', _status, 'list the services')
    add('restart', _restart, 'restart one service').add_argument('service')
    add('shell', _shell, 'a shell, or one command, as administrator'
        ).add_argument('command', nargs=argparse.REMAINDER)
    add('down', _down, 'stop all; nothing is lost')
    add('destroy', _destroy, 'stop all and remove what is in the cloud')
    return parser


def _install(_arguments: argparse.Namespace) -> None:
    image.GUEST.ensure()


def _up(arguments: argparse.Namespace) -> None:
    from tests.support.cloud import cloud
    cloud.up(arguments.service or None)


def _status(_arguments: argparse.Namespace) -> int:
    from tests.support.cloud import cloud
    found = cloud.status()
    for service in found:
        print(f'{service.name:24} {"up" if service.pid else "down":5}'
              f'{service.pid or "-":>8} {service.port or "-":>6}')
    return 0 if all(service.pid for service in found) else 3


def _restart(arguments: argparse.Namespace) -> None:
    from tests.support.cloud import cloud
    cloud.restart(arguments.service)


def _shell(arguments: argparse.Namespace) -> None:
    from tests.support.cloud import accounts
    from tests.support.cloud import process
    path = {name: process.ENVIRONMENT[name] for name in ('PATH', 'CEPH_CONF')}
    env = os.environ | accounts.CREDENTIALS | path | {
        'LIBVIRT_DEFAULT_URI': layout.LIBVIRT_URI, 'PYTHONWARNINGS': 'ignore'}
    command = arguments.command or [os.environ.get('SHELL', '/bin/bash')]
    os.execvpe(command[0], command, env)


def _down(_arguments: argparse.Namespace) -> None:
    from tests.support.cloud import cloud
    cloud.down()


def _destroy(_arguments: argparse.Namespace) -> None:
    from tests.support.cloud import cloud
    cloud.destroy()


if __name__ == '__main__':
    sys.exit(main())
