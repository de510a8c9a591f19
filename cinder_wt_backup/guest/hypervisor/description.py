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

"""What of a domain's live XML is needed here, taken from it once.

libvirt writes it, but at a host that somebody else may have taken over, and a
window keeps what it needs of it for as long as it is open.
"""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree  # nosec B405

from cinder_wt_backup import exceptions

AGENT_CHANNEL = 'org.qemu.guest_agent.0'
# Of an instance with hundreds of disks; libvirt itself sends up to 16 MiB.
MOST_CHARACTERS = 2 << 20


@dataclasses.dataclass(frozen=True)
class Disk:
    """A Cinder volume as a domain has it.

    :ivar names: its serial, and its alias of Nova's: a volume's id among them
    :ivar kind: ``network``, ``block``, ``file``, …
    :ivar target: the name in the domain, such as ``vdb``
    :ivar address: the PCI address of a virtio-blk disk, ``0000:00:04.0``
    :ivar source: the network source's name, such as ``volumes/volume-ID``
    :ivar unsafe: why what the guest has flushed may not be on the volume all
        the same, and what to do about it; empty: it is
    """

    names: frozenset[str]
    kind: str
    target: str
    address: str | None
    source: str | None
    unsafe: str = ''


@dataclasses.dataclass(frozen=True)
class Description:
    """A domain.

    :ivar projects: whose Nova says that it is
    :ivar agent_channel: the state of the agent's channel: ``connected``,
        ``disconnected``, empty where libvirt does not know; None: it has none
    """

    projects: frozenset[str | None]
    disks: tuple[Disk, ...]
    agent_channel: str | None


class _NoTypes(ElementTree.TreeBuilder):
    """Builds a tree of a document without a type: libvirt writes none.

    In one, entities could be declared that expand to any size.
    """

    def doctype(self, *_args: object) -> None:
        raise ValueError('a document type is declared in it')


def read(xml: str, instance: str) -> Description:
    """Return what is needed of a domain's XML.

    :raises DomainNotFound: it is none that libvirt writes
    """
    try:
        if len(xml) > MOST_CHARACTERS:
            raise ValueError(f'it has {len(xml)} characters')
        parser = ElementTree.XMLParser(target=_NoTypes())  # nosec B314
        parser.feed(xml)
        return _description(parser.close())
    except (ValueError, ElementTree.ParseError) as error:
        raise exceptions.DomainNotFound(
            f'what libvirt says of instance {instance} cannot be read '
            f'({error}): it is not touched') from error


def _description(root: ElementTree.Element) -> Description:
    channels = [target.get('state', '') for target in root.iterfind(
        './devices/channel/target') if target.get('name') == AGENT_CHANNEL]
    return Description(
        projects=frozenset(project.get('uuid') for project in root.iterfind(
            './metadata/{*}instance/{*}owner/{*}project')),
        disks=tuple(map(_disk, root.iterfind('./devices/disk'))),
        agent_channel=channels[0] if channels else None)


def _disk(disk: ElementTree.Element) -> Disk:
    alias, source, target = (
        {} if found is None else found.attrib
        for found in map(disk.find, ('./alias', './source', './target')))
    # Nova gives a volume's disk the alias ua-ID, for "user's alias".
    names = {disk.findtext('./serial'), alias.get('name', '')[len('ua-'):]
             if alias.get('name', '').startswith('ua-') else None}
    return Disk(names=frozenset(filter(None, names)),
                kind=disk.get('type', ''), target=target.get('dev', ''),
                address=_pci_address(disk), source=source.get('name'),
                unsafe=_unsafe(disk))


def _unsafe(disk: ElementTree.Element) -> str:
    """Return what of a disk's XML lets QEMU acknowledge what is not there."""
    driver = disk.find('./driver')
    options = driver.attrib if driver is not None else {}
    if options.get('cache') == 'unsafe':
        return ('cache=\'unsafe\' has QEMU ignore its flushes: have another '
                'mode in nova.conf, [libvirt] disk_cachemodes, and reboot it '
                '--hard')
    if options.get('error_policy') == 'ignore':
        return ('error_policy=\'ignore\' has QEMU say that writes succeeded '
                'which did not: take it away')
    if disk.find('./transient') is not None:
        return 'it is transient: QEMU writes to a file beside it'
    return ''


def _pci_address(disk: ElementTree.Element) -> str | None:
    address = disk.find('./address')
    if address is None or address.get('type') != 'pci':
        return None
    domain, bus, slot, function = (
        int(address.get(part, '0'), 16)
        for part in ('domain', 'bus', 'slot', 'function'))
    return f'{domain:04x}:{bus:02x}:{slot:02x}.{function:x}'
