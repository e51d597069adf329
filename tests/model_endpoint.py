"""A server that speaks the chat completions API, as badly as a test wants it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

KEY = "sk-test-0123456789-not-a-real-one"


class Asked(msgspec.Struct, frozen=True):
    """One request as it came: its path, its credential, and its body as JSON."""

    path: str
    credential: str
    body: Any

    @property
    def rules(self) -> str:
        return str(self.body["messages"][0]["content"])

    @property
    def evidence(self) -> str:
        return str(self.body["messages"][1]["content"])

    @property
    def form(self) -> str:
        return str(self.body["response_format"]["json_schema"]["name"])


class Sent(msgspec.Struct, frozen=True):
    """An answer: `body` as it goes over the wire. `promised` is the length that is told of it, where that is a lie; one that
    `hangs` never ends, and with status 0 never begins."""

    body: bytes = b""
    status: int = 200
    headers: tuple[str, ...] = ()
    promised: int | None = None
    hangs: bool = False


Script = Callable[[Asked], Sent]


def suggests(action: str, *, tokens: int | None = 100, **fields: Any) -> Sent:
    """A completion that suggests `action`; its other fields may be given."""
    plain = {"risk": "low", "confidence": 0.9, "root_cause": "a wedged process", "reasoning": ["its pods crash"]}
    return completion(json.dumps({"action": action, **plain, **fields}), tokens=tokens)


def objects(objection: str) -> Sent:
    """A critic's completion; an empty objection is none."""
    return completion(json.dumps({"objects": bool(objection), "objection": objection}))


def completion(content: str | None, *, tokens: int | None = 100, reason: str = "stop", **message: Any) -> Sent:
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": content, **message}}
    usage = {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": tokens}} if tokens is not None else {}
    return Sent(json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], **usage}).encode())


class Endpoint:
    """What answers at `url`: the next of `script`, whose last is repeated. `asked` is all that came."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.script: Sequence[Sent] | Script = (suggests("INVESTIGATE"),)
        self._writers: list[asyncio.StreamWriter] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(fields.get("Content-Length", "0")))
        asked = Asked(head.split()[1], fields.get("Authorization", ""), json.loads(body) if body else None)
        self.asked.append(asked)
        sent = self._next(asked)
        length = len(sent.body) if sent.promised is None else sent.promised
        if sent.status == 0:
            return
        lines = (f"HTTP/1.1 {sent.status} X", f"Content-Length: {length}", "Connection: close", *sent.headers)
        writer.write("\r\n".join((*lines, "\r\n")).encode() + sent.body)
        if not sent.hangs:
            await writer.drain()
            writer.close()

    def _next(self, asked: Asked) -> Sent:
        if callable(self.script):
            return self.script(asked)
        return self.script[min(len(self.asked), len(self.script)) - 1]

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """A running one."""
    served = Endpoint()
    async with await asyncio.start_server(served.answer, "127.0.0.1", 0, limit=2**20) as server:
        served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield served
        served.hang_up()
