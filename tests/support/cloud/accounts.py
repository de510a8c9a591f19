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

"""Keystone: who may speak to whom, and where the services are."""

from typing import Any

import openstack

from tests.support.cloud import configs
from tests.support.cloud import layout

COMPUTE_MICROVERSION = '2.90'
VOLUME_MICROVERSION = '3.71'
CREDENTIALS = {
    'OS_AUTH_TYPE': 'password',
    'OS_AUTH_URL': layout.url('keystone', '/v3'),
    'OS_IDENTITY_API_VERSION': '3',
    'OS_PASSWORD': layout.PASSWORD,
    'OS_PROJECT_DOMAIN_NAME': 'Default',
    'OS_PROJECT_NAME': 'admin',
    'OS_REGION_NAME': layout.REGION,
    'OS_USERNAME': 'admin',
    'OS_USER_DOMAIN_NAME': 'Default',
    'OS_COMPUTE_API_VERSION': COMPUTE_MICROVERSION,
    'OS_VOLUME_API_VERSION': VOLUME_MICROVERSION,
}
_SERVICES = {
    'block-storage': layout.url('cinder-api', '/v3'),
    'compute': layout.url('nova-api', '/v2.1'),
    'image': layout.url('glance'),
    'network': layout.url('network'),
    'placement': layout.url('placement'),
    'volumev3': layout.url('cinder-api', '/v3'),
}


def connect(project: str = 'admin', username: str = 'admin',
            password: str = layout.PASSWORD,
            ) -> openstack.connection.Connection:
    """A connection to this cloud, as its administrator."""
    return openstack.connection.Connection(
        region_name=layout.REGION,
        auth={'auth_url': CREDENTIALS['OS_AUTH_URL'], 'username': username,
              'password': password, 'project_name': project,
              'user_domain_name': 'Default',
              'project_domain_name': 'Default'},
        compute_default_microversion=COMPUTE_MICROVERSION,
        block_storage_default_microversion=VOLUME_MICROVERSION,
        block_storage_api_version='3')


def create() -> None:
    """Make the services' accounts and the catalogue; safe to repeat."""
    with connect() as connection:
        # Version 3 of its two, which the type does not tell.
        identity: Any = connection.identity
        project = (identity.find_project('service')
                   or identity.create_project(name='service',
                                              domain_id='default'))
        roles = [identity.find_role(name, ignore_missing=False)
                 for name in ('admin', 'service')]
        for name in configs.ACCOUNTS:
            user = identity.find_user(name) or identity.create_user(
                name=name, password=layout.PASSWORD, domain_id='default',
                default_project_id=project.id)
            for role in roles:
                identity.assign_project_role_to_user(project, user, role)
        for kind, address in _SERVICES.items():
            _register(identity, kind, address)


def _register(identity: Any, kind: str, address: str) -> None:
    service = (next(identity.services(type=kind), None)
               or identity.create_service(name=kind, type=kind))
    there = {endpoint.interface
             for endpoint in identity.endpoints(service_id=service.id)}
    for interface in {'public', 'internal'} - there:
        identity.create_endpoint(service_id=service.id, interface=interface,
                                 url=address, region_id=layout.REGION)
