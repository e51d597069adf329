"""Which server holds a partition: the one of the URL, or the master that a Redis Cluster names for the partition's slot."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection, parse_url
from redis.crc import key_slot
from redis.exceptions import RedisError

from bus import names
from bus.errors import BusUnavailable, InvalidAddress

_POOL_WORDS = ("max_connections", "timeout", "socket_timeout", "retry_on_timeout", "health_check_interval", "protocol", "legacy_responses")


class Address:
    """A parsed URL: makes connections that are not yet open. Passwords stay inside and are never printed."""

    def __init__(self, url: str, *, client_name: str, connect_timeout: float) -> None:
        """`connect_timeout` in seconds, handshake included; raises InvalidAddress."""
        try:
            words: dict[str, Any] = dict(parse_url(url))
        except ValueError as error:
            raise InvalidAddress(f"the URL of Redis cannot be used: {error}; expected redis://, rediss:// or unix://") from None
        for word in _POOL_WORDS:
            words.pop(word, None)
        self._kind: type[AbstractConnection] = words.pop("connection_class", Connection)
        self._words = words | {
            "client_name": client_name,
            "driver_info": None,
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": connect_timeout,
        }

    @property
    def place(self) -> tuple[str, int]:
        """Host and port; for a unix socket its path and 0."""
        if self._kind is UnixDomainSocketConnection:
            return str(self._words.get("path", "")), 0
        return str(self._words.get("host", "localhost")), int(self._words.get("port", 6379))

    def __repr__(self) -> str:
        host, port = self.place
        return f"Address({host}:{port})" if port else f"Address({host})"

    def connection(self, place: tuple[str, int] | None = None) -> AbstractConnection:
        """A connection to the URL's server, or to another one of the same cluster; not yet open. Raises InvalidAddress."""
        words: Mapping[str, Any] = self._words
        if place is not None:
            words = {**self._words, "host": place[0], "port": place[1]}
        try:
            return self._kind(**words)
        except (TypeError, ValueError, RedisError) as error:
            raise InvalidAddress(f"the URL of Redis has an option that cannot be used: {error}") from None


class Route(Protocol):
    """Finds the server of a partition."""

    async def connection(self, partition: int) -> AbstractConnection:
        """A connection, not yet open, to the server that holds the partition. Raises BusUnavailable."""
        ...

    def doubt(self) -> None:
        """What was known may be wrong: a server was lost, or said that the slot has moved."""
        ...


class SingleRoute:
    """Every partition lives on the server of the URL."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def connection(self, partition: int) -> AbstractConnection:  # noqa: ARG002 - one server holds them all
        return self._address.connection()

    def doubt(self) -> None:
        """Nothing to forget: there is one server."""


class ClusterRoute:
    """Asks the cluster which master holds a slot, and asks again after any doubt."""

    def __init__(self, address: Address, *, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._places: set[tuple[str, int]] = {address.place}
        self._slots: list[tuple[int, int, tuple[str, int]]] = []
        self._lock = asyncio.Lock()

    def doubt(self) -> None:
        self._slots = []

    async def connection(self, partition: int) -> AbstractConnection:
        slot = key_slot(names.prefix(partition))
        async with self._lock:
            if not self._slots:
                await self._learn()
        for first, last, place in self._slots:
            if first <= slot <= last:
                return self._address.connection(place)
        self.doubt()
        raise BusUnavailable(f"the Redis Cluster has no master for slot {slot} of partition {partition}: wait for the failover to end")

    async def _learn(self) -> None:
        failure: Exception | None = None
        for place in [self._address.place, *sorted(self._places - {self._address.place})]:
            connection = self._address.connection(place)
            try:
                async with asyncio.timeout(self._timeout):
                    await connection.connect()  # type: ignore[no-untyped-call]
                    await connection.send_command("CLUSTER", "SLOTS")
                    self._take(place, await connection.read_response())
            except (OSError, RedisError) as error:
                failure = error
            finally:
                await connection.disconnect(nowait=True)
            if self._slots:
                return
        raise BusUnavailable(f"no node of the Redis Cluster answers: {failure or 'no slots are assigned'}")

    def _take(self, asked: tuple[str, int], answer: list[list[Any]]) -> None:
        for first, last, master, *replicas in answer:
            self._slots.append((first, last, _place(asked, master)))
            self._places.update(_place(asked, node) for node in (master, *replicas))


def _place(asked: tuple[str, int], node: list[Any]) -> tuple[str, int]:
    """Host and port of a node; an empty host means the one that was asked."""
    return (node[0].decode() if node[0] else asked[0]), int(node[1])
