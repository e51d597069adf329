"""The door for presses in Slack: requests that Slack has signed, not older than five minutes, each taken once."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from adapters.errors import AdapterError
from adapters.notify.slack import ACTIONS, SlackChannel
from ops.channels.door import MAX_BODY, Bodies, answered, log_untold
from ops.channels.presses import Press, Presses
from schemas.secret import Secret

if TYPE_CHECKING:
    from litestar import Request, Response, Router

_WINDOW = 300  # seconds
_VERSION = "v0"
_SIGNATURE = re.compile(rf"{_VERSION}=[0-9a-f]{{64}}")


class _Named(msgspec.Struct):
    id: str = ""


class _Action(msgspec.Struct):
    action_id: str = ""
    value: str = ""


class _Payload(msgspec.Struct):
    """As much of an interaction as is read."""

    type: str = ""
    user: _Named = msgspec.field(default_factory=_Named)
    channel: _Named = msgspec.field(default_factory=_Named)
    actions: list[_Action] = []


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What Slack puts into `X-Slack-Signature`: `v0=` and the HMAC-SHA256 of `v0:TIMESTAMP:BODY`, in hex."""
    return f"{_VERSION}=" + hmac.new(secret, f"{_VERSION}:{timestamp}:".encode() + body, "sha256").hexdigest()


def slack_router(signing_secret: Secret, presses: Presses, channel: SlackChannel, *, clock: Callable[[], datetime]) -> Router:
    """`POST /v1/slack/interactivity`, the Request URL of the app. It is answered at once; the presser is told by `channel` afterwards."""
    from litestar import Request, Response, Router, post
    from litestar.background_tasks import BackgroundTask

    secret = signing_secret.reveal().encode()
    bodies = Bodies()
    names = {"Request": Request, "Response": Response}

    @post("/interactivity", status_code=HTTPStatus.OK, request_max_body_size=MAX_BODY, include_in_schema=False, signature_namespace=names)
    async def interactivity(request: Request[Any, Any, Any]) -> Response[Any]:
        given, timestamp = (request.headers.get(name, "") for name in ("x-slack-signature", "x-slack-request-timestamp"))
        body = b""
        reason, detail = _hopeless(timestamp, given, clock())
        if not reason:
            body = await bodies.of(request)
            reason, detail = _forged(secret, timestamp, body, given)
        if reason:
            await presses.refused_unproven(reason, detail)
            return answered(HTTPStatus.UNAUTHORIZED, detail)
        payload = _read(body)
        if payload is None:
            return answered(HTTPStatus.BAD_REQUEST, "the form must have a field payload with the JSON of an interaction")
        press = _press(payload, given)
        work = BackgroundTask(_work, presses, channel, press, payload.channel.id) if press else None
        return Response(None, status_code=HTTPStatus.OK, background=work)

    return Router(path="/v1/slack", route_handlers=[interactivity])


def _hopeless(timestamp: str, given: str, now: datetime) -> tuple[str, str]:
    """Why no body could prove that a request is Slack's and of now, as a word and a sentence; empty where one could."""
    if not _SIGNATURE.fullmatch(given):
        return "forged", "the header X-Slack-Signature must be v0= and 64 digits in hex"
    if not timestamp.isascii() or not timestamp.isdigit() or abs(now.timestamp() - int(timestamp[:12])) > _WINDOW:
        return "late", f"the header X-Slack-Request-Timestamp is more than {_WINDOW} s from now"
    return "", ""


def _forged(secret: bytes, timestamp: str, body: bytes, given: str) -> tuple[str, str]:
    """As `_hopeless`, of a request whose body is there."""
    if hmac.compare_digest(signature(secret, timestamp, body), given):
        return "", ""
    return "forged", "the header X-Slack-Signature was not made with the signing secret of the app"


def _read(body: bytes) -> _Payload | None:
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=16)
        return msgspec.json.decode(fields["payload"][0], type=_Payload)
    except (ValueError, KeyError, msgspec.DecodeError, RecursionError):
        return None


def _press(payload: _Payload, nonce: str) -> Press | None:
    """The press in an interaction; None for one that is none of our buttons."""
    action = payload.actions[0] if payload.type == "block_actions" and payload.actions else _Action()
    choice = ACTIONS.get(action.action_id)
    if choice is None or not payload.user.id:
        return None
    return Press(account=payload.user.id, approval=action.value[:100], choice=choice, nonce=nonce)


async def _work(presses: Presses, channel: SlackChannel, press: Press, place: str) -> None:
    said = await presses.take(press)
    try:
        await channel.whisper(place, press.account, said)
    except AdapterError as error:
        log_untold(channel.name, said, error)
