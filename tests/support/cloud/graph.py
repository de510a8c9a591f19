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

"""Services and one-off steps that need each other, brought up side by side."""

from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
import dataclasses
import graphlib
import time
from typing import ClassVar

from tests.support.cloud import console
from tests.support.cloud import layout
from tests.support.cloud import process

# The machine has few cores, but much of the time is spent waiting.
AT_ONCE = 6


@dataclasses.dataclass(frozen=True)
class Step:
    """Something to do before others can start.

    :param once: leave a stamp, and do it again only in a new cloud.
    :param undo: what to do before those can stop that it needs.
    """

    name: str
    run: Callable[[], object]
    needs: tuple[str, ...] = ()
    once: bool = True
    undo: Callable[[], object] | None = None
    brought_up: ClassVar[str] = 'is done'

    def bring_up(self) -> bool:
        """Do it, unless it is done. Says whether there was work."""
        stamp = layout.DONE / self.name
        if self.once and stamp.exists():
            return False
        self.run()
        if self.once:
            stamp.touch()
        return self.once

    def take_down(self) -> bool:
        """What a step made stays, as a rule."""
        if self.undo:
            self.undo()
        return False


@dataclasses.dataclass(frozen=True)
class Service:
    """A daemon, and how to see that it does its work.

    :param ready: gets the time of its start, as seconds since the epoch.
    :param in_use: whether another one is there already; by default whether
        its port is taken.
    """

    name: str
    daemon: process.Daemon
    ready: Callable[[float], object]
    needs: tuple[str, ...] = ()
    in_use: Callable[[float], object] | None = None
    timeout: float = 120
    brought_up: ClassVar[str] = 'is up'

    def bring_up(self) -> bool:
        """Start it, unless it runs, and wait until it is ready."""
        was_running = bool(self.daemon.pid)
        if not was_running:
            if self._is_taken():
                raise console.CloudError(
                    f'{self.name} is running already, but is not ours: end '
                    'it first (ss -ltnp names it; for another clone of this '
                    'project: python3 -m tests.support.cloud down there)')
            self.daemon.start()
        try:
            console.wait_for(self.name, self._is_ready, self.timeout,
                             failed=(OSError,))
        except console.CloudError as err:
            raise console.CloudError(
                f'{err}\n{console.tail(self.daemon.log)}') from err
        return not was_running

    def take_down(self) -> bool:
        """Stop it. Says whether it was running."""
        return self.daemon.stop()

    def _is_taken(self) -> bool:
        if self.in_use is None:
            return layout.listens(self.name)
        try:
            return bool(self.in_use(time.time()))
        except OSError:
            return False

    def _is_ready(self) -> object:
        if not self.daemon.pid:
            raise console.CloudError(f'{self.name} has ended')
        return self.ready(self.daemon.started)


Node = Step | Service


def bring_up(nodes: Mapping[str, Node], names: Iterable[str]) -> None:
    """Bring up the named nodes and all that they need."""
    wanted = _closure(nodes, names)
    _walk({name: nodes[name].needs for name in wanted},
          lambda name: nodes[name].bring_up(),
          lambda name: nodes[name].brought_up)


def take_down(nodes: Mapping[str, Node]) -> None:
    """Stop every service, each after those that need it."""
    needed_by: dict[str, list[str]] = {name: [] for name in nodes}
    for name, node in nodes.items():
        for need in node.needs:
            needed_by[need].append(name)
    _walk(needed_by, lambda name: nodes[name].take_down(),
          lambda _name: 'has ended')


def _closure(nodes: Mapping[str, Node], names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in nodes:
            raise console.CloudError(
                f'there is no {name!r}; there are: {", ".join(nodes)}')
        if name not in found:
            found.add(name)
            todo += nodes[name].needs
    return found


def _walk(needs: Mapping[str, Iterable[str]], visit: Callable[[str], bool],
          done: Callable[[str], str]) -> None:
    order = graphlib.TopologicalSorter(needs)
    order.prepare()
    running: dict[futures.Future[bool], tuple[str, float]] = {}
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        while order.is_active():
            for name in order.get_ready():
                running[pool.submit(visit, name)] = name, time.monotonic()
            finished, _ = futures.wait(
                running, return_when=futures.FIRST_COMPLETED)
            for future in finished:
                name, since = running.pop(future)
                _report(future, pool, f'{name} {done(name)}', since)
                order.done(name)


def _report(future: futures.Future[bool], pool: futures.Executor,
            message: str, since: float) -> None:
    if future.exception():
        pool.shutdown(wait=False, cancel_futures=True)
    if future.result():
        console.say(f'{message} ({time.monotonic() - since:.1f} s)')
