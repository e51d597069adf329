"""The yardstick: a loop written by hand, with one gated Lua script for each batch, hiredis' C packer and raw replies.

It has what exactly-once needs on a good day and nothing else: no retry, no claims, no heartbeat, no dead letters, no
metrics, no delay, no recovery after a lost reply.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Self

from hiredis import pack_command
from redis.asyncio.connection import UnixDomainSocketConnection

from schemas.codec import encode
from tests.bench.contestants.course import BATCH, GROUP, Course
from tests.bench.relay import handle

_SETTLE = """
for at = 2, #ARGV, 2 do
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[at]) == 1 then
    redis.call('XADD', KEYS[2], '*', 'e', ARGV[at + 1])
  end
end
"""


class PlainConnection(UnixDomainSocketConnection):
    """Commands packed by redis-py, replies as they come, no timeout for each of them."""

    @classmethod
    async def opened(cls, socket: str) -> Self:
        connection = cls(path=socket, protocol=2, socket_timeout=None)
        await connection.connect()  # type: ignore[no-untyped-call]
        return connection

    async def call(self, *words: Any) -> Any:
        await self.send_command(*words, check_health=False)
        return await self.read_response()


class RawConnection(PlainConnection):
    """The same with commands packed in C."""

    def pack_command(self, *args: Any) -> list[bytes]:
        return [pack_command(args)]


async def run(course: Course, connection: type[PlainConnection] = RawConnection) -> None:
    """Decodes each event, awaits the handler and encodes its answer."""
    link, decode = course.link, course.decoder()

    async def relay(body: bytes) -> bytes:
        return encode(await handle(decode(body), link))

    await _relay(course, relay, connection)


async def run_plain(course: Course) -> None:
    """The same without the C packer."""
    await run(course, PlainConnection)


async def run_bytes(course: Course) -> None:
    """Passes the very bytes on: what Redis and the connection alone allow."""

    async def relay(body: bytes) -> bytes:
        return body

    await _relay(course, relay, RawConnection)


async def _relay(course: Course, relay: Callable[[bytes], Awaitable[bytes]], kind: type[PlainConnection]) -> None:
    """Reads, handles and settles batch by batch until the course is done."""
    connection = await kind.opened(course.socket)
    source, sink = course.source, course.sink
    settle = await connection.call("SCRIPT", "LOAD", _SETTLE)
    await connection.call("XGROUP", "CREATE", source, GROUP, "0", "MKSTREAM")
    done = 0
    while not course.hops or done < course.hops:
        reply = await connection.call("XREADGROUP", "GROUP", GROUP, "1", "COUNT", BATCH, "BLOCK", 1000, "STREAMS", source, ">")
        for _, entries in reply or ():
            words: list[bytes] = []
            for entry, fields in entries:
                words += (entry, await relay(fields[1]))
            await connection.call("EVALSHA", settle, 2, source, sink, GROUP, *words)
            done += len(entries)
    await connection.disconnect()
