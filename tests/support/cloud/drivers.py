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

"""cinder-backup's options: each stock driver, alone or in the plugin."""

from collections.abc import Mapping

from tests.support.cloud import layout

DRIVERS = {'posix': 'cinder.backup.drivers.posix.PosixBackupDriver',
           'ceph': 'cinder.backup.drivers.ceph.CephBackupDriver',
           'nfs': 'cinder.backup.drivers.nfs.NFSBackupDriver',
           'glusterfs': 'cinder.backup.drivers.glusterfs.'
                        'GlusterfsBackupDriver',
           'swift': 'cinder.backup.drivers.swift.SwiftBackupDriver',
           's3': 'cinder.backup.drivers.s3.S3BackupDriver',
           'gcs': 'tests.support.cloud.gcs.GoogleBackupDriver'}


def stock(driver: str, **default: str) -> dict[str, dict[str, str]]:
    """Return cinder-backup's options without the plugin."""
    return {'DEFAULT': {'backup_driver': DRIVERS[driver], **default}}


def plugin(driver: str, options: Mapping[str, str] | None = None,
           **default: str) -> dict[str, dict[str, str]]:
    """Return cinder-backup's options with the plugin."""
    return {
        'DEFAULT': {
            'backup_driver':
                'cinder_wt_backup.driver.WriteThroughBackupDriver',
            **default},
        'write_through': {
            'wrapped_driver': DRIVERS[driver],
            'libvirt_uri': 'qemu+tcp://{host}/system',
            'libvirt_hosts': f'{layout.HOST}:{layout.ADDRESS}',
            # Emulated guests are slow, and slower still beside other suites.
            'agent_timeout': '20',
            **(options or {})}}
