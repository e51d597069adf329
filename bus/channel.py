"""One connection to the server of a partition: one command at a time, opened again when it was lost, never repeated by itself.

redis-py makes and authenticates the connection. Commands are packed by hiredis in C and replies are left as bytes: its own
packing in Python is what a busy loop would otherwise spend half of its time on. One timeout guards a whole call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bus.errors import BusError, BusFull, BusUnavailable, GroupMissing
from bus.route import Route
from bus.scripts import Script

_MOVED = {"MovedError", "AskError", "ClusterDownError", "ReadOnlyError", "TryAgainError", "MasterDownError"}
_ELSEWHERE = ("MOVED ", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN", "force unblock", "NOREPLICAS", "BUSY ")
_Word = bytes | str | int | float


class Channel:
    """Sends commands to one partition's server; `timeout` in seconds bounds each call, waiting for its turn included."""

    def __init__(self, route: Route, partition: int, *, timeout: float = 5.0) -> None:
        self._route = route
        self._partition = partition
        self._timeout = timeout
        self._lock = asyncio.Lock()
        self._connection: AbstractConnection | None = None

    async def call(self, *words: _Word, timeout: float | None = None) -> Any:
        """The raw reply of one command.

        Raises BusUnavailable when it is not known whether the command was done, BusFull, GroupMissing, BusError.
        """
        return await self._guarded(words, timeout or self._timeout)

    async def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[_Word], timeout: float | None = None) -> Any:
        """The raw reply of a script; errors as `call`."""
        seconds = timeout or self._timeout
        try:
            return await self._guarded((b"EVALSHA", script.sha, len(keys), *keys, *arguments), seconds)
        except NoScriptError:
            return await self._guarded((b"EVAL", script.text, len(keys), *keys, *arguments), seconds)

    async def close(self) -> None:
        """Closes the connection; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _guarded(self, words: tuple[_Word, ...], seconds: float) -> Any:
        try:
            async with asyncio.timeout(seconds), self._lock:
                return await self._exchange(words)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self._route.doubt()
            raise BusUnavailable(f"Redis cannot be reached: {str(error) or f'no answer within {seconds:g} s'}") from error
        except InvalidResponse as error:
            raise BusError(f"Redis answered what is not its protocol: {error}") from error

    async def _exchange(self, words: tuple[_Word, ...]) -> Any:
        """One command and its reply. redis-py closes the connection itself whenever a reply may be left in it."""
        connection = self._connection
        # something to read before anything was asked: the server has hung up
        if connection is not None and connection.is_connected and await connection.can_read():
            await self.close()
            connection = None
        if connection is None or not connection.is_connected:
            connection = await self._open()
        try:
            await connection.send_packed_command([pack_command(words)], check_health=False)  # type: ignore[arg-type]
            return await connection.read_response()
        except NoScriptError:
            raise
        except ResponseError as error:
            refusal = _refusal(error)
            if isinstance(refusal, BusUnavailable):
                self._route.doubt()
                await self.close()
            raise refusal from error

    async def _open(self) -> AbstractConnection:
        connection = await self._route.connection(self._partition)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        return connection


def _refusal(error: ResponseError) -> BusError:
    text, name = str(error), type(error).__name__
    if "OOM " in text or isinstance(error, OutOfMemoryError):
        return BusFull("Redis is at its maxmemory: nothing was appended; give it more memory, or let the stages catch up")
    if "NOGROUP" in text or "UNBLOCKED the stream key" in text:
        return GroupMissing(text)
    if name in _MOVED or any(word in text for word in _ELSEWHERE):
        return BusUnavailable(f"this server does not serve the partition now: {text or name}")
    return BusError(f"Redis refused a command: {text}")
