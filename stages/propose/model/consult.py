"""One question to the language model, with its budget, its cache and its count. Whatever goes wrong has one name: Unusable."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from adapters.model.client import ModelClient
from adapters.model.wire import Ended, Question, Reply
from schemas.identity import new_id
from schemas.text import clean
from sql.database import Database
from sql.errors import StoreUnavailable
from sql.model_calls import CallRow, answered, reserve, settle
from stages.propose.model.answer import Unusable

T = TypeVar("T")


class Consultation(msgspec.Struct, frozen=True, kw_only=True):
    """One question about one incident. `matters` is the evidence as it is compared; `until` a time of the event loop."""

    purpose: str
    incident: str
    question: Question
    matters: str
    until: float


class Consultant:
    """Asks the model where the store has room for it. While the store cannot answer, nobody is asked."""

    def __init__(self, database: Database, client: ModelClient, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._client = client
        self._clock = clock

    async def consult(self, about: Consultation, read: Callable[[str], T]) -> tuple[T, bool]:
        """What `read` makes of the answer, and whether it came from the cache: the same question about the same evidence gets the
        answer that it got before.

        Raises Unusable, also where `read` does.
        """
        try:
            found = await self._consult(about, read)
        except StoreUnavailable as error:
            self._client.meter.ended(about.purpose, "store_away")
            raise Unusable("store_away", f"its budget cannot be looked up: {error}") from None
        except Unusable as error:
            self._client.meter.ended(about.purpose, error.outcome)
            raise
        self._client.meter.ended(about.purpose, "cached" if found[1] else "answered")
        return found

    async def _consult(self, about: Consultation, read: Callable[[str], T]) -> tuple[T, bool]:
        key = _key(self._client.options.name, about)
        if (known := await self._known(about.purpose, key, read)) is not None:
            return known, True
        call = await self._reserve(about, key)
        started = time.perf_counter()
        reply = await self._client.ask(about.question, until=about.until)
        seconds = time.perf_counter() - started
        try:
            result = _read(reply, read)
        except Unusable as error:
            await self._settle(call, reply, error.outcome, seconds)
            raise
        await self._settle(call, reply, "answered", seconds, answer=_cleaned(reply.text))
        return result, False

    async def _known(self, purpose: str, key: str, read: Callable[[str], T]) -> T | None:
        """What was answered before, where that may still be named: its pod may be gone."""
        seconds = self._client.options.cache
        if seconds <= 0:
            return None
        async with self._database.connection() as connection:
            text = await answered(connection, key, purpose, since=self._clock() - timedelta(seconds=seconds))
        try:
            return read(text) if text is not None else None
        except Unusable:
            return None

    async def _reserve(self, about: Consultation, key: str) -> str:
        options, now = self._client.options, self._clock()
        call = CallRow(
            id=new_id(now),
            incident=about.incident,
            purpose=about.purpose,
            evidence=key,
            provider=self._client.meter.provider,
            at=now,
            tokens=about.question.size + options.answer_tokens,
        )
        async with self._database.transaction() as connection:
            why = await reserve(connection, call, per_incident=options.tokens_per_incident, per_day=options.tokens_per_day)
        if why:
            raise Unusable("over_budget", why)
        return call.id

    async def _settle(self, call: str, reply: Reply, outcome: str, seconds: float, *, answer: str | None = None) -> None:
        async with self._database.connection() as connection:
            await settle(connection, call, tokens=reply.tokens, outcome=outcome, seconds=seconds, answer=answer)


def _read(reply: Reply, read: Callable[[str], T]) -> T:
    if reply.ended is not Ended.ANSWERED:
        raise Unusable(reply.ended.value, reply.why)
    return read(reply.text)


def _cleaned(text: str) -> str:
    """An answer as it is kept: every text in it without control characters and secrets."""

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return clean(value)
        if isinstance(value, list):
            return [walk(one) for one in value]
        return {name: walk(one) for name, one in value.items()} if isinstance(value, dict) else value

    return msgspec.json.encode(walk(msgspec.json.decode(text))).decode()


def _key(model: str, about: Consultation) -> str:
    """The hash of all that an answer depends on: the model, our own words, the form, and the evidence that matters."""
    parts = (model, about.question.rules, about.question.form, about.matters)
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
