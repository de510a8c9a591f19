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

"""Ways to make a guest consistent, found by stevedore."""

from __future__ import annotations

import functools
from importlib import metadata

import stevedore

from cinder_wt_backup import exceptions
from cinder_wt_backup.window.methods import base

NAMESPACE = 'cinder_wt_backup.methods'


@functools.cache
def installed() -> dict[str, type[base.Method]]:
    """Return the installed methods by name.

    :raises ConfigurationError: one is installed, but cannot be imported
    """
    manager: stevedore.ExtensionManager[base.Method] = (
        stevedore.ExtensionManager(
            NAMESPACE, on_load_failure_callback=_complain))
    return {extension.name: extension.plugin for extension in manager}


def _complain(_manager: object, entry: metadata.EntryPoint,
              error: BaseException) -> None:
    raise exceptions.ConfigurationError(
        f'the method {entry.name} ({entry.value}) cannot be imported: '
        f'{error}') from error
