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

"""The network service of a cloud without networks.

Nova asks it for ports and security groups and would fail without an answer;
here every list is empty. A WSGI application.
"""

from collections.abc import Callable, Iterable
import json
from typing import Any

from tests.support.cloud import layout

_VERSION = {
    'id': 'v2.0',
    'status': 'CURRENT',
    'links': [{'rel': 'self', 'href': layout.url('network', '/v2.0/')}],
}
_UNLIMITED = dict.fromkeys(
    ('floatingip', 'network', 'port', 'router', 'security_group',
     'security_group_rule', 'subnet'), -1)


def application(environ: dict[str, Any],
                start_response: Callable[[str, list[tuple[str, str]]], Any],
                ) -> Iterable[bytes]:
    """Answer one request."""
    body = _answer(environ['REQUEST_METHOD'], environ['PATH_INFO'])
    status = '200 OK'
    if body is None:
        status = '404 Not Found'
        body = {'NeutronError': {'type': 'NotFound', 'detail': '',
                                 'message': environ['PATH_INFO']}}
    start_response(status, [('Content-Type', 'application/json')])
    return [json.dumps(body).encode()]


def _answer(method: str, path: str) -> dict[str, Any] | None:
    match path.removesuffix('.json').strip('/').split('/'):
        case ['']:
            return {'versions': [_VERSION]}
        case ['v2.0']:
            return {'resources': []}
        case ['v2.0', 'quotas', *_]:
            return {'quota': _UNLIMITED}
        case ['v2.0', collection] if method == 'GET':
            return {collection.replace('-', '_'): []}
    return None
