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

"""What a method must do."""

from __future__ import annotations

import abc
from typing import ClassVar

from cinder_wt_backup.claims import claim as claims
from cinder_wt_backup import conf
from cinder_wt_backup.guest import reach


class Method(abc.ABC):
    """A way to make one guest consistent for a moment.

    Made for one window, for one thread. ``engage`` is called again as long as
    another window, or freeze, is in the way; ``release`` after whatever it
    came to, and again while the guest may be reached in a moment.

    :param guest: the guest
    :param token: the window's name, unique, hexadecimal
    :param settings: the ``[write_through]`` section
    :cvar runs_programs: whether it runs any in the guest, which an owner may
        refuse
    :cvar remedy: what puts back a guest that could not be released
    :ivar left_over: what ``release`` knows to be not as before yet, in words;
        ``recover`` is called later on, to try again
    """

    runs_programs: ClassVar[bool] = False
    remedy: ClassVar[str] = 'the guest does it by itself when its lease ends'

    def __init__(self, guest: reach.Guest, token: str,
                 settings: conf.Settings) -> None:
        self.guest = guest
        self.token = token
        self.settings = settings
        self.left_over = ''

    @abc.abstractmethod
    def check(self) -> None:
        """See whether this guest permits this method; change nothing.

        :raises CommandBlocked: it does not
        :raises GuestFrozen: that cannot be said now
        """

    @abc.abstractmethod
    def engage(self) -> None:
        """Make the guest consistent; return when it is.

        Whatever it changes, the guest undoes by itself after the lease; but a
        freeze where the operator permits one without.

        :raises GuardianBusy, GuestFrozen: another window, or freeze, is in
            the way; nothing was changed
        :raises GuardianUnable: this guest lacks what it needs and was not
            changed: the next method may do
        :raises WriteThroughError: it could not; ``release`` is still due
        """

    @abc.abstractmethod
    def release(self) -> claims.Claim:
        """Put the guest back and say what was proven, without the window's
        own times.

        :raises WriteThroughError: it cannot be said that the guest is as
            before: the lease has to see to it
        """

    def lapsed(self, reason: str) -> claims.Claim:
        """Return what is proven where the window ended before its release.

        :param reason: how it ended
        """
        return claims.Claim(claims.Level.FLUSHED, reason)

    @abc.abstractmethod
    def recover(self) -> None:
        """Put a guest back that another process left, by its token.

        It is thawed when this is called.

        Harmless when there is nothing to put back.

        :raises GuardianStuck: it is still changed
        :raises WriteThroughError: as ``release``
        """
