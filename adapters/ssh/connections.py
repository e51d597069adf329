"""Connections kept for reuse: one to a host, a bounded number in all, each closed when nobody has used it for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from adapters.errors import Transient
from adapters.ssh.options import HostOptions

if TYPE_CHECKING:
    from adapters.ssh.wire import Link


class _Place:
    """What is kept for one host. `users` counts the commands that hold `link` now or wait for it; `used_at` is in the loop's seconds."""

    def __init__(self, options: HostOptions) -> None:
        self.options = options
        self.opening = asyncio.Lock()
        self.link: Link | None = None
        self.users = 0
        self.used_at = 0.0
        self.expiry: asyncio.TimerHandle | None = None


class Connections:
    """Lends connections to the hosts of the settings; `limit` are open at most at a time."""

    def __init__(self, hosts: Mapping[str, HostOptions], *, limit: int) -> None:
        self._places = {name: _Place(options) for name, options in hosts.items()}
        self._limit = limit
        self._open = 0
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def lend(self, name: str) -> AsyncIterator[tuple[Link, bool]]:
        """A connection to the host for one command, and whether it has been used before.

        Raises Refused and Transient as `adapters.ssh.wire.connect` does.
        """
        place = self._places[name]
        link, reused = await self._link(name, place)
        place.users += 1
        try:
            yield link, reused
        finally:
            place.users -= 1
            self._rest(place)

    async def close(self) -> None:
        """Ends all connections."""
        links = [self._take(place) for place in self._places.values()]
        await asyncio.gather(*(link.close() for link in links if link is not None))

    async def _link(self, name: str, place: _Place) -> tuple[Link, bool]:
        async with place.opening:
            if place.expiry is not None:
                place.expiry.cancel()
            if place.link is not None and place.link.alive:
                return place.link, True
            self._forget(place)
            await self._room(name, place.options.connect_timeout)
            try:
                from adapters.ssh.wire import connect

                place.link = await connect(name, place.options)
            except BaseException:
                self._leave()
                raise
            return place.link, False

    async def _room(self, name: str, seconds: float) -> None:
        """Counts one more connection; at the limit, ends the one that has rested longest, or waits for one to rest."""
        try:
            async with asyncio.timeout(seconds):
                while self._open >= self._limit:
                    resting = [place for place in self._places.values() if place.link is not None and place.users == 0]
                    if resting:
                        self._forget(min(resting, key=lambda place: place.used_at))
                        continue
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise Transient(f"all {self._limit} SSH connections were busy for {seconds:g} s, host {name} was not asked") from None
        self._open += 1

    def _rest(self, place: _Place) -> None:
        """Starts the time after which an unused connection is ended."""
        if place.users or place.link is None:
            return
        loop = asyncio.get_running_loop()
        place.used_at = loop.time()
        if place.expiry is not None:
            place.expiry.cancel()
        place.expiry = loop.call_later(place.options.idle, self._expire, place)
        self._freed.set()

    def _expire(self, place: _Place) -> None:
        """Ends an unused connection; one with a command that does not end is kept, since only there it is seen when that ends."""
        if place.link is not None and place.link.lingers:
            self._rest(place)
        else:
            self._forget(place)

    def _take(self, place: _Place) -> Link | None:
        """Gives up the place's connection, without ending it."""
        link, place.link = place.link, None
        if place.expiry is not None:
            place.expiry.cancel()
        if link is not None:
            self._leave()
        return link

    def _forget(self, place: _Place) -> None:
        link = self._take(place)
        if link is not None:
            link.drop()

    def _leave(self) -> None:
        self._open -= 1
        self._freed.set()
