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

"""The steps of a backup in a window, as the debug log has them.

They are declared here, so that a fault can be injected at each of them
(tests/support/faults), whatever the functions around them are called.
"""

from __future__ import annotations

import enum

from oslo_log import log as logging

LOG = logging.getLogger(__name__)


class Step(enum.Enum):
    """What has just happened, in the order in which a backup comes to it."""

    REQUESTED = 'requested'     # nothing is on record yet
    RECORDED = 'recorded'       # the window is on record
    STARTING = 'starting'       # the guest's agent has started the guardian
    FROZEN = 'frozen'           # the agent has frozen file systems
    ENGAGED = 'engaged'         # the guests are as consistent as they permit
    CAST = 'cast'               # cinder-volume is asked for the snapshot
    PASSED = 'passed'           # the snapshot was seen to be finished
    RELEASING = 'releasing'     # the guest's agent has started the release
    RELEASED = 'released'       # every guest was told
    CLOSED = 'closed'           # the record has the claim instead
    STORING = 'storing'         # the wrapped driver is about to read


def reached(step: Step, where: str) -> None:
    """Tell that a step was reached.

    :param where: the window's token, or an instance's or backup's id
    """
    LOG.debug('%(where)s: %(step)s.', {'where': where, 'step': step.value})
