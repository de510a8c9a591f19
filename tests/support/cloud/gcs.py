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


"""Cinder's gcs driver, against an emulator of Google's store on this host.

All is as ever but for the address and the account: neither is an option of
the driver.
"""

import json
from typing import Any

from cinder.backup.drivers import gcs
from google.auth import credentials
from googleapiclient import discovery
from googleapiclient import discovery_cache

from tests.support.cloud import layout


class GoogleBackupDriver(gcs.GoogleBackupDriver):
    """Cinder's own, with these two set before it connects."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        gcs.discovery = LocalDiscovery
        gcs.service_account.Credentials.from_service_account_file = (
            lambda _file: credentials.AnonymousCredentials())
        super().__init__(*args, **kwargs)


class LocalDiscovery:
    """What the driver uses of Google's ``discovery``: the store is here."""

    @staticmethod
    def build(name: str, version: str, *, credentials: object,
              **_options: object) -> Any:
        """Return a client of the service that a Google API describes."""
        text = discovery_cache.get_static_doc(name, version)
        root = layout.url('gcs', '/')
        return discovery.build_from_document(
            json.loads(text) | {'rootUrl': root}, credentials=credentials)
