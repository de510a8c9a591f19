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

"""What is to be done for one backup, worked out once for each RPC step."""

from __future__ import annotations

import dataclasses

from cinder import objects

from cinder_wt_backup import conf
from cinder_wt_backup.service import attachments
from cinder_wt_backup.service import policy

# Part of the class path of every version of Cinder's ceph driver.
CEPH = 'backup.drivers.ceph'


@dataclasses.dataclass(frozen=True)
class BackupPlan:
    """What is to be done for one backup.

    :ivar policy: what it must reach; None: it is none of our business, as a
        snapshot's or an unused volume's
    :ivar in_driver: the point in time is made by the backup driver itself,
        as it is where the ceph driver gets a live RBD image (Cinder's
        RBDDriver.get_backup_device); else by cinder-volume
    """

    backup: objects.Backup
    volume: objects.Volume
    policy: policy.Policy | None
    in_driver: bool

    @property
    def has_window(self) -> bool:
        """Whether guests are to be made consistent for it."""
        return self.policy is not None and not self.policy.off

    @property
    def is_live(self) -> bool:
        """Whether what is stored is the volume itself, not a copy of it."""
        return not (self.in_driver or self.backup.temp_volume_id
                    or self.backup.temp_snapshot_id)


def make_plan(backup: objects.Backup, volume: objects.Volume,
              settings: conf.Settings, driver: str = '') -> BackupPlan:
    """Work it out.

    :param driver: the backup driver, where the backup does not have it yet
    :raises PolicyError: the volume has a policy that cannot be read
    """
    ours = (settings.methods and not backup.snapshot_id
            and attachments.in_use(volume))
    return BackupPlan(
        backup, volume,
        policy=policy.read(volume.metadata, settings.required_level)
        if ours else None,
        in_driver=CEPH in (driver or backup.service or '')
        and attachments.driver_type(volume) == 'rbd')
