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

"""What a domain that does not run still holds of its guest's memory.

What the guest had not flushed is in there. An instance that was shut off has
none, so its disks are all there is and a backup of them has nothing to prove.
One whose memory was saved has it still: its disks are those of a crash.
"""

from __future__ import annotations

import libvirt

from cinder_wt_backup import exceptions

# Shut off, and no memory is left. Only what is named here is exempt. After a
# restart libvirt has no reason for any that is off; what it knows then is
# whether it has a saved memory, which is asked for with every reason.
ENDED = frozenset({
    libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN,
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED,
    # It failed to start: there never was any.
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED,
    # Of a snapshot that was taken while it was off.
    libvirt.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT})
# None is left either, but nobody shut it off: it was lost while it was
# written to, and whoever wants to know is told so.
LOST = frozenset({libvirt.VIR_DOMAIN_SHUTOFF_CRASHED,
                  libvirt.VIR_DOMAIN_SHUTOFF_DAEMON})
CRASHED = ('it ended without a shutdown, and what it had not flushed is lost: '
           'start it')
SUSPENDED = ('it is suspended, and what it has not flushed is in its saved '
             'memory: resume it first')
_OFF = {libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: 'it has migrated away',
        **dict.fromkeys(LOST, CRASHED),
        **dict.fromkeys(ENDED, 'it is shut off')}
_STATES = {libvirt.VIR_DOMAIN_PAUSED: 'it is paused',
           libvirt.VIR_DOMAIN_SHUTDOWN: 'it is being shut down',
           libvirt.VIR_DOMAIN_CRASHED: 'its kernel has crashed',
           libvirt.VIR_DOMAIN_PMSUSPENDED: 'it is suspended'}


def not_running(instance: str, state: int, reason: int,
                is_saved: bool) -> exceptions.DomainNotRunning:
    """Return the error for a domain in another state than running.

    :param state: libvirt's virDomainState
    :param reason: of that state, such as virDomainShutoffReason
    :param is_saved: libvirt has a memory to start it with
    """
    if state != libvirt.VIR_DOMAIN_SHUTOFF:
        return _error(instance, _STATES.get(state, f'its state is {state}'))
    if is_saved or reason == libvirt.VIR_DOMAIN_SHUTOFF_SAVED:
        return _error(instance, SUSPENDED)
    return _error(instance, _OFF.get(
        reason, f'it is off for a reason that is not known, {reason}'),
        shut_off=reason in ENDED, memory_gone=reason in ENDED | LOST)


def _error(instance: str, why: str, shut_off: bool = False,
           memory_gone: bool = False) -> exceptions.DomainNotRunning:
    return exceptions.DomainNotRunning(
        f'instance {instance} does not run ({why}): nothing could be flushed '
        f'in it', shut_off, memory_gone)
