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

"""btrfs: struct btrfs_super_block (include/uapi/linux/btrfs_tree.h)."""

from __future__ import annotations

from cinder_wt_backup.ondisk import reader

_SUPERBLOCK = 64 << 10
_MAGIC = b'_BHRfS_M'


def is_there(disk: reader.Reader) -> bool:
    """Whether there is one."""
    return disk.read(_SUPERBLOCK + 64, 8) == _MAGIC


def needs_replay(disk: reader.Reader) -> bool:
    """Whether there is a log of fsyncs since the last transaction.

    A freeze ends the transaction, and with it the log.
    """
    return bool(disk.unpack('<Q', _SUPERBLOCK + 96))
