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

"""RBD images as Cinder gives them to backup drivers: in os-brick's wrapper."""

from __future__ import annotations

from typing import Any

from os_brick.initiator import linuxrbd

from cinder_wt_backup.guest import blocking

# Seconds for what librbd mostly knows already; its own are endless.
TIMEOUT = 30


class Image:
    """An open image; each call leaves the event loop and is bounded.

    :param image: librbd's Image, which carries no types
    """

    def __init__(self, image: Any) -> None:
        self._image = image

    def parent(self) -> tuple[str, ...]:
        """Return pool, image and snapshot that it is a clone of.

        :raises Exception: librbd's ImageNotFound: it is none
        """
        return tuple(self._call(self._image.parent_info))

    def show_snapshot(self, name: str | None) -> None:
        """Have it read as it was at a snapshot; None: as it is now."""
        self._call(self._image.set_snap, name)

    def _call(self, function: Any, *args: object) -> Any:
        return blocking.call(f'RBD image {id(self._image)}', TIMEOUT,
                             function, *args)


def image_of(file: object) -> Image | None:
    """Return the image that a driver is given as a file; None: it is none.

    Cinder gives it wrapped once more, where it runs under eventlet: in that
    one's tpool.Proxy, whose ``_obj`` it is.
    """
    wrapper = getattr(file, '_obj', file)
    return Image(wrapper.rbd_image) if isinstance(
        wrapper, linuxrbd.RBDVolumeIOWrapper) else None
