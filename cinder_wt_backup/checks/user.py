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

"""Whose user a command is run as."""

from __future__ import annotations

import os
import pwd

USER = 'cinder'


def other_user() -> str:
    """Return the user of the distribution's service, if this is root's."""
    if os.geteuid():
        return ''
    try:
        return pwd.getpwnam(USER).pw_name
    except KeyError:
        return ''               # as in a virtual environment of root's
