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

"""The demo from the cloud's start to the exit status."""

import argparse
import collections.abc
import contextlib
import dataclasses
import json

import keystoneauth1.exceptions
import libvirt
import openstack

from tests.reports.demo import scenario
from tests.support.cloud import cloud
from tests.support.cloud import configs
from tests.support.cloud import console
from tests.support.cloud import layout
from tests.support.machines import guests
from tests.support.stage import stage
from tests.support.workload import verdict


def run(options: argparse.Namespace) -> int:
    """Show both backups; return 0 if the plugin lost nothing, else 1."""
    cloud.up()
    try:
        with _driver_put_back(), cloud.connect() as connection:
            stock, plugin = _play(connection, options)
    except (guests.GuestError, keystoneauth1.exceptions.ClientException,
            libvirt.libvirtError, openstack.exceptions.SDKException) as error:
        raise console.CloudError(
            f'{error}\nThe logs are in {layout.LOG}; with --keep the server '
            'and the volumes stay for a look.') from error
    return _report(options, stock, plugin)


def _play(connection: openstack.connection.Connection,
          options: argparse.Namespace,
          ) -> tuple[verdict.Outcome, verdict.Outcome]:
    with stage.Stage(connection, options.keep) as scene:
        return scenario.Scenario(scene, options).play()


@contextlib.contextmanager
def _driver_put_back() -> collections.abc.Iterator[None]:
    """Give cinder-backup, at the end, the options that it has now."""
    overlay = configs.backup_overlay(layout.HOST)
    before = overlay.read_text()
    try:
        yield
    finally:
        if overlay.read_text() != before:
            overlay.write_text(before)
            cloud.restart('cinder-backup')
            console.say('cinder-backup is what it was before')


def _report(options: argparse.Namespace, stock: verdict.Outcome,
            plugin: verdict.Outcome) -> int:
    faults = verdict.faults(stock, plugin)
    if options.json:
        options.json.write_text(json.dumps({
            'stock': dataclasses.asdict(stock),
            'plugin': dataclasses.asdict(plugin),
            'faults': faults}, indent=2))
    print(f'\n{options.fs}, {options.throttle} MB/s, {options.records:g} '
          f'records a second\n{verdict.table(stock, plugin)}\n'
          'Lost: acknowledged in the guest before the request, not in the '
          'backup. Stall: the\nlongest write(2) in the guest from the '
          'request until the backup was available.\n')
    for fault in faults:
        print(f'FAILED: {fault}')
    if not faults:
        print('Nothing that was written before the request is missing from '
              "the plugin's backup,\nand all of it is in order.")
    return 1 if faults else 0
