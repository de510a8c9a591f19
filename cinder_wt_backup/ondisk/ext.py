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

"""ext2, ext3 and ext4: struct ext4_super_block (fs/ext4/ext4.h)."""

from __future__ import annotations

from cinder_wt_backup.ondisk import reader

_SUPERBLOCK = 1024
_MAGIC = 0xef53
_VALID = 0x1
_HAS_JOURNAL = 0x4
_NEEDS_RECOVERY = 0x4


def is_there(disk: reader.Reader) -> bool:
    """Whether there is one, with a journal."""
    return _is_any(disk) and _has_journal(disk)


def is_there_without_journal(disk: reader.Reader) -> bool:
    """Whether there is one that has no journal, as an ext2."""
    return _is_any(disk) and not _has_journal(disk)


def needs_replay(disk: reader.Reader) -> bool:
    """Whether its journal has to be replayed.

    A freeze clears the flag as unmounting does (ext4_freeze).
    """
    return bool(disk.unpack('<I', _SUPERBLOCK + 0x60) & _NEEDS_RECOVERY)


def needs_check(disk: reader.Reader) -> bool:
    """Whether one without a journal was not unmounted.

    The kernel marks it as not valid while it is mounted, also while it is
    frozen.
    """
    return not disk.unpack('<H', _SUPERBLOCK + 0x3a) & _VALID


def _is_any(disk: reader.Reader) -> bool:
    return bool(disk.unpack('<H', _SUPERBLOCK + 0x38) == _MAGIC)


def _has_journal(disk: reader.Reader) -> bool:
    return bool(disk.unpack('<I', _SUPERBLOCK + 0x5c) & _HAS_JOURNAL)
