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

"""Which file systems are flagged, and what a reconfigure must say again.

There is no rule: each of these types was tried option by option. Saying all
options again is harmful (btrfs loses nodatasum when compress is repeated).
"""

import typing

ALLOWED = frozenset({'ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'vfat',
                     'msdos'})
# What a bare reconfigure drops or refuses, by type.
SAID_AGAIN = {'xfs': ('inode32', 'max_atomic_write'), 'btrfs': ('noacl',)}
NO_BARRIER = frozenset({
    'nobarrier', 'barrier=0', 'fsync_mode=nobarrier',
    'journal_flush_disabled'})

Options = typing.List[str]


def said_again(kind: str, options: Options) -> Options:
    """Return those of these options that a reconfigure must be told."""
    return [option for option in options
            if option.partition('=')[0] in SAID_AGAIN.get(kind, ())]


def others(options: Options) -> Options:
    """Return them without what a window or an admin's remount moves."""
    return sorted(option for option in options
                  if option not in ('sync', 'ro', 'rw'))


def identifying(options: Options) -> Options:
    """Return those that no remount moves: by them FAT is known."""
    return [option for option in others(options)
            if option not in ('dirsync', 'mand', 'lazytime')]


def changed(before: Options, after: Options) -> Options:
    """Return what is different, with a sign for gone and for new."""
    first, second = set(others(before)), set(others(after))
    return (['-' + option for option in sorted(first - second)]
            + ['+' + option for option in sorted(second - first)])


def has_barrier(options: Options) -> bool:
    """Whether the device's cache is flushed when it must be."""
    return not NO_BARRIER & set(options)
