#!/bin/bash
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

# A DevStack plugin: the backup driver that DevStack has configured is wrapped.
# It is sourced, with "stack" or "unstack" and a phase as its arguments.

CINDER_WT_BACKUP_DIR=${CINDER_WT_BACKUP_DIR:-$DEST/cinder-wt-backup}
CINDER_WT_BACKUP_DRIVER=cinder_wt_backup.driver.WriteThroughBackupDriver

# Put our driver in front of the configured one, unless it is there already.
function configure_cinder_wt_backup {
    local wrapped
    wrapped=$(iniget "$CINDER_CONF" DEFAULT backup_driver)
    if [[ "$wrapped" == "$CINDER_WT_BACKUP_DRIVER" ]]; then
        return
    fi
    # What Cinder has where nothing is configured.
    wrapped=${wrapped:-cinder.backup.drivers.swift.SwiftBackupDriver}
    iniset "$CINDER_CONF" DEFAULT backup_driver "$CINDER_WT_BACKUP_DRIVER"
    iniset "$CINDER_CONF" write_through wrapped_driver "$wrapped"
    iniset "$CINDER_CONF" write_through libvirt_uri \
        "$CINDER_WT_BACKUP_LIBVIRT_URI"
    if [[ -n "$CINDER_WT_BACKUP_LIBVIRT_HOSTS" ]]; then
        iniset "$CINDER_CONF" write_through libvirt_hosts \
            "$CINDER_WT_BACKUP_LIBVIRT_HOSTS"
    fi
}

if is_service_enabled c-bak; then
    if [[ "$1" == stack && "$2" == install ]]; then
        # With libvirt's bindings, which bindep.txt names.
        setup_develop -bindep "$CINDER_WT_BACKUP_DIR"
    elif [[ "$1" == stack && "$2" == post-config ]]; then
        # Cinder's own configuration is written by now.
        configure_cinder_wt_backup
    elif [[ "$1" == stack && "$2" == test-config ]]; then
        cinder-wt-backup --config-file "$CINDER_CONF" check
    fi
    # Nothing to undo: DevStack writes cinder.conf anew, and a window that is
    # left open ends with its lease.
fi
