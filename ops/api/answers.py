"""What the API answers: JSON of msgspec's types with every text in it cleaned, a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar import Response
from litestar.params import PathParameter, QueryParameter

from ops.api.problems import ProblemFound
from ops.facts.cleaning import cleaned
from schemas.secret import secret_shown

T = TypeVar("T")

Named = Annotated[str, PathParameter(description="Its id.")]
PAGE = 50  # items
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="The most items of the page.")]
After = Annotated[str, QueryParameter(max_length=256, description="`next` of the page before; empty for the first page.")]


_WRITERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="answer")  # the stages of this process have the event loop


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some items, in the order of the list. `next` is what `after` must be to get those that follow; empty where none do."""

    items: list[T]
    next: str = ""


async def told(value: Any, status: int = HTTPStatus.OK) -> Response[bytes]:
    """The value as JSON, written beside the event loop, two answers at once."""
    body = await asyncio.get_running_loop().run_in_executor(_WRITERS, _written, value)
    return Response(body, status_code=status, media_type="application/json", headers={"Cache-Control": "no-store"})


def _written(value: Any) -> bytes:
    return msgspec.json.encode(cleaned(msgspec.to_builtins(value, enc_hook=secret_shown)))


async def page_of(rows: Sequence[T], limit: int, key: str) -> Response[bytes]:
    """The first `limit` of the rows as a page; one more than that says that others follow. `key` is the field that names an item."""
    items = list(rows[:limit])
    return await told(Page(items=items, next=str(getattr(items[-1], key)) if len(rows) > limit else ""))


def known_text(text: str, what: str) -> str:
    """A text that can name something in the store. Raises ProblemFound (404) for one that cannot, such as one with a NUL."""
    if text and not text.isprintable():
        raise no_such(what)
    return text


def no_such(what: str) -> ProblemFound:
    """404: nothing has this name."""
    return ProblemFound(HTTPStatus.NOT_FOUND, f"there is no such {what}")
