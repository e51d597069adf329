"""Reading an answer from outside, and no more of it than there is room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


async def body_of(answer: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The body of an answer, or None where it has more than `limit` bytes: of those no more is read. Raises what aiohttp does."""
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            return None
    return b"".join(chunks)
