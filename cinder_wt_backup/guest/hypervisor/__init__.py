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

"""A compute host's libvirt and the instances that run there.

Nothing else of the package knows libvirt: its errors become those of
:mod:`cinder_wt_backup.exceptions` here, and every call that goes to a host is
bounded.
"""

from __future__ import annotations

from cinder_wt_backup import exceptions

try:
    import libvirt  # noqa: F401
    import libvirt_qemu  # noqa: F401
except ImportError as error:
    raise exceptions.ConfigurationError(
        f'the Python bindings of libvirt are missing ({error}): install '
        f'python3-libvirt on Debian, Ubuntu, RHEL and their kin, or, where '
        f'cinder-backup has an environment of its own, libvirt-python from '
        f'PyPI into that') from None
