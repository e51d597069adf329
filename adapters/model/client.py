"""Asks one language model over HTTP. Bounded in time and size, never redirected; no message of an error has the key or the URL in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from adapters.bounded import body_of
from adapters.credentials import authorization
from adapters.errors import NoAnswer, Refused, Transient
from adapters.model.meter import ModelMeter
from adapters.model.options import ModelOptions
from adapters.model.wire import Ended, Question, Reply, names_in, reply_in, request, said_of_error
from adapters.patience import Patience
from schemas.text import clean

if TYPE_CHECKING:
    import aiohttp

_FIRST_WAIT = 0.5  # seconds before the first repetition; twice as long before each further one
_OK, _REDIRECT, _CLIENT_ERROR, _NOT_FOUND, _BUSY, _SERVER_ERROR = 200, 300, 400, 404, 429, 500
_NOT_LET_IN = (401, 403)


class _NotTaken(Transient):
    """The request was not taken, so that it can be repeated at no cost; `after` is how long the endpoint asks to wait, in seconds."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class _TooLarge(Refused):
    """The answer was larger than the settings allow; what it cost is not known."""


class ModelClient:
    """One model of one endpoint. After three questions in a row that were not answered it is not asked for a while (`Patience`)."""

    def __init__(self, options: ModelOptions, *, clock: Callable[[], datetime]) -> None:
        self.options = options
        self.meter = ModelMeter(clean(options.name, 128))
        self._patience = Patience("the language model", clock)
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, question: Question, *, until: float) -> Reply:
        """The reply before `until` (the time of the event loop), repeated as often as the settings say where it was not taken.

        Raises nothing for what the endpoint does, or does not do: the reply says it.
        """
        if why := self._patience.refusal():
            return Reply(ended=Ended.UNREACHABLE, why=why, tokens=0)
        try:
            reply = await self._repeated(question, until)
        except _NotTaken as error:
            reply = Reply(ended=Ended.UNREACHABLE, why=str(error), tokens=0)
        except NoAnswer as error:
            reply = Reply(ended=Ended.LATE, why=str(error))
        except Transient as error:
            reply = Reply(ended=Ended.UNREACHABLE, why=str(error))
        except _TooLarge as error:
            reply = Reply(ended=Ended.INVALID, why=str(error))
        except Refused as error:
            reply = Reply(ended=Ended.REFUSED, why=str(error), tokens=0)
        self._patience.told(late=reply.ended in (Ended.LATE, Ended.UNREACHABLE))
        self.meter.tokens += reply.tokens or 0
        return reply

    async def models(self) -> frozenset[str] | None:
        """The names of the models that the endpoint lists for this key; None where it has no such list. Raises AdapterError."""
        status, body, _ = await self._request("GET", "models", None, asyncio.get_running_loop().time() + self.options.timeout)
        if status == _NOT_FOUND:
            return None
        self._check(status, body, None)
        return names_in(body)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _repeated(self, question: Question, until: float) -> Reply:
        body = request(question, model=self.options.name, answer_tokens=self.options.answer_tokens)
        loop = asyncio.get_running_loop()
        for attempt in range(self.options.retries + 1):
            try:
                return await self._once(body, until)
            except _NotTaken as error:
                wait = error.after if error.after is not None else _FIRST_WAIT * 2**attempt
                if attempt == self.options.retries or loop.time() + wait >= until:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, body: bytes, until: float) -> Reply:
        started = time.perf_counter()
        try:
            status, answer, after = await self._request("POST", "chat/completions", body, until)
        finally:
            self.meter.took(time.perf_counter() - started)
        self._check(status, answer, after)
        return reply_in(answer)

    async def _request(self, method: str, path: str, body: bytes | None, until: float) -> tuple[int, bytes, float | None]:
        """Status, body and what `Retry-After` says."""
        import aiohttp

        seconds = min(self.options.timeout, until - asyncio.get_running_loop().time())
        if seconds <= 0:
            raise NoAnswer("no time was left to ask the language model")
        url = f"{self.options.url.reveal().rstrip('/')}/{path}"
        limits = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._opened().request(method, url, data=body, timeout=limits, allow_redirects=False) as answer:
                return answer.status, await self._read(answer), _seconds(answer.headers.get("Retry-After", ""))
        except TimeoutError:
            raise NoAnswer(f"the language model did not answer within {seconds:.3g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise _NotTaken(f"the language model cannot be reached ({type(error).__name__})") from None
        except ValueError:
            # An invalid URL, or a key that is no header; the text of the error would have it in it.
            raise Refused("the language model cannot be asked: check model.url and model.key, one of them is malformed") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(f"the language model broke off its answer ({type(error).__name__})") from None

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        limit = self.options.answer_limit
        body = await body_of(answer, limit)
        if body is None:
            raise _TooLarge(f"the language model answers with more than {limit} bytes")
        return body

    def _check(self, status: int, body: bytes, after: float | None) -> None:
        """Lets only a 200 pass."""
        if status == _OK:
            return
        said = f"the language model's endpoint answers {status}"
        if status == _BUSY or status >= _SERVER_ERROR:
            raise _NotTaken(f"{said}{': too many requests, or no credit left' if status == _BUSY else ''}", after)
        if status in _NOT_LET_IN:
            raise Refused(f"{said}: it does not accept model.key")
        if _REDIRECT <= status < _CLIENT_ERROR:
            raise Refused(f"{said}: it sends us elsewhere, and the key goes nowhere else; set model.url to where it really is")
        if status == _NOT_FOUND:
            raise Refused(f"{said}: check model.url, which ends before /chat/completions, and model.name")
        raise Refused(f"{said}{self._quoted(body)}")

    def _quoted(self, body: bytes) -> str:
        words = said_of_error(body)
        for secret in (*self.options.key.parts(), *self.options.url.parts()):
            words = words.replace(secret, "***")
        return f": {clean(words, 300)}" if words else ""

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            headers = {"Content-Type": "application/json", **authorization(self.options.key)}
            self._session = aiohttp.ClientSession(headers=headers)
        return self._session


def _seconds(text: str) -> float | None:
    """`Retry-After` in seconds; None where it is absent, a date or nonsense."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
