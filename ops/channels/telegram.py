"""The door for presses in Telegram: updates with the secret token that setWebhook was given. The presser is checked, not the chat."""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.errors import AdapterError
from adapters.notify.telegram import LETTERS, TelegramChannel
from ops.channels.door import MAX_BODY, Bodies, answered, log_untold
from ops.channels.presses import Press, Presses
from schemas.secret import Secret

if TYPE_CHECKING:
    from litestar import Request, Response, Router


class _Sender(msgspec.Struct):
    id: int = 0


class _Query(msgspec.Struct):
    """A press of a button. `data` is what the button carries."""

    id: str
    sender: _Sender = msgspec.field(name="from")
    data: str = ""


class _Update(msgspec.Struct):
    """As much of an update as is read."""

    update_id: int
    callback_query: _Query | None = None


def telegram_router(secret_token: Secret, presses: Presses, channel: TelegramChannel) -> Router:
    """`POST /v1/telegram/webhook`, the URL of setWebhook. It is answered at once; the presser is told by `channel` afterwards."""
    from litestar import Request, Response, Router, post
    from litestar.background_tasks import BackgroundTask

    expected = _digest(secret_token.reveal())
    bodies = Bodies()
    names = {"Request": Request, "Response": Response}

    @post("/webhook", status_code=HTTPStatus.OK, request_max_body_size=MAX_BODY, include_in_schema=False, signature_namespace=names)
    async def webhook(request: Request[Any, Any, Any]) -> Response[Any]:
        if not hmac.compare_digest(_digest(request.headers.get("x-telegram-bot-api-secret-token", "")), expected):
            detail = "the header X-Telegram-Bot-Api-Secret-Token is not the secret token of setWebhook"
            await presses.refused_unproven("forged", detail)
            return answered(HTTPStatus.UNAUTHORIZED, detail)
        try:
            update = msgspec.json.decode(await bodies.of(request), type=_Update)
        except (msgspec.DecodeError, RecursionError) as error:
            return answered(HTTPStatus.BAD_REQUEST, f"the body is no update: {str(error)[:200]}")
        press = _press(update)
        work = BackgroundTask(_work, presses, channel, press, update.callback_query.id) if press and update.callback_query else None
        return Response(None, status_code=HTTPStatus.OK, background=work)

    return Router(path="/v1/telegram", route_handlers=[webhook])


def _press(update: _Update) -> Press | None:
    """The press in an update; None for one that is none of our buttons."""
    query = update.callback_query
    if query is None or not query.sender.id:
        return None
    letter, _, approval = query.data.partition(":")
    choice = LETTERS.get(letter)
    if choice is None or not approval:
        return None
    return Press(account=str(query.sender.id), approval=approval[:100], choice=choice, nonce=query.id)


async def _work(presses: Presses, channel: TelegramChannel, press: Press, query: str) -> None:
    said = await presses.take(press)
    try:
        await channel.answer_press(query, said)
    except AdapterError as error:
        log_untold(channel.name, said, error)


def _digest(text: str) -> bytes:
    """Equal length for whatever text, so that a comparison does not tell the length of the secret."""
    return hashlib.sha256(text.encode()).digest()
