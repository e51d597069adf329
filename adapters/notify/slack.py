"""Slack: one message of Block Kit for each incident, edited in place, answered in its thread.

Texts from outside stand in `rich_text` and `plain_text`, in which Slack reads no markup, mention or link. The one place where it would,
the text of a notification, is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from adapters.errors import MessageGone, Refused, Transient, Unsendable
from adapters.notify.client import PostClient
from adapters.ports import Card, CardButton
from schemas.secret import Secret
from schemas.words import Choice, Language

SIGN = "mend_sign"
REJECT = "mend_reject"
ACTIONS = {SIGN: Choice.SIGN, REJECT: Choice.REJECT}
"""The `action_id` of each button."""

_PLAIN = {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
_HEADER = 150  # characters
_TEXT = 3000
_BUTTON = 75
_LATER = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout", "rate_limited", "ratelimited"})
_GONE = frozenset({"message_not_found", "thread_not_found"})
_NEVER = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text", "invalid_arguments", "invalid_array_arg"}
    | {"cant_update_message", "edit_window_closed", "message_limit_exceeded", "restricted_action_thread_locked"}
)


class SlackChannel:
    """Posts to one channel of Slack as a bot. The id of a message is `CHANNEL:TS`. Without `buttons` cards have none."""

    name = "slack"

    def __init__(
        self, token: Secret, channel: str, *, language: Language = Language.ENGLISH, url: str, buttons: bool, timeout: float = 5.0
    ) -> None:
        self.language = language
        self._token = token
        self._channel = channel
        self._url = url.rstrip("/")
        self._buttons = buttons
        self._client = PostClient(self.name, timeout=timeout)

    async def send(self, lines: Sequence[str], *, delivery: str) -> None:  # noqa: ARG002 - Slack knows no ids of ours
        await self._call("chat.postMessage", self._message(lines) | _PLAIN | {"channel": self._channel})

    async def post(self, card: Card) -> str:
        answer = await self._call("chat.postMessage", self._shown(card) | _PLAIN | {"channel": self._channel})
        return f"{answer.get('channel', self._channel)}:{answer.get('ts', '')}"

    async def edit(self, message: str, card: Card) -> None:
        channel, _, ts = message.partition(":")
        await self._call("chat.update", self._shown(card) | {"channel": channel, "ts": ts})

    async def reply(self, message: str, lines: Sequence[str], *, loud: bool) -> None:
        channel, _, ts = message.partition(":")
        body = {"channel": channel, "thread_ts": ts, "reply_broadcast": loud}
        await self._call("chat.postMessage", self._message(lines) | _PLAIN | body)

    async def whisper(self, channel: str, user: str, text: str) -> None:
        """Tells one person in a channel something that nobody else sees."""
        await self._call("chat.postEphemeral", self._message([text]) | {"channel": channel, "user": user})

    async def close(self) -> None:
        await self._client.close()

    def _message(self, lines: Sequence[str]) -> dict[str, Any]:
        return _quiet(lines[0]) | {"blocks": [{"type": "rich_text", "elements": [_section([_text("\n".join(lines)[:_TEXT])])]}]}

    def _shown(self, card: Card) -> dict[str, Any]:
        header = {"type": "header", "text": {"type": "plain_text", "text": card.title[:_HEADER], "emoji": False}}
        lines = [_section([_text(f"{line.label}  ", bold=True), _text(line.text[:_TEXT])]) for line in card.lines]
        blocks = [header, {"type": "rich_text", "elements": [*lines, *_change(card)]}]
        if card.buttons and self._buttons:
            blocks.append({"type": "actions", "elements": [_button(button) for button in card.buttons]})
        first = card.lines[0].text if card.lines else ""
        return _quiet(f"{card.title}: {first}") | {"blocks": blocks}

    async def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call of the Web API. Raises Transient, Busy, Unsendable, MessageGone and Refused, with Slack's own word for what is wrong."""
        headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {self._token.reveal()}"}
        answer = await self._client.post(f"{self._url}/{method}", msgspec.json.encode(body), headers)
        fields = answer.fields
        if fields.get("ok") is True:
            return fields
        word = str(fields.get("error") or f"status {answer.status}")[:100]
        said = f"slack will not have it ({method}): {word}"
        if word in _LATER or not fields:
            raise Transient(said)
        if word in _GONE:
            raise MessageGone(said)
        if word in _NEVER:
            raise Unsendable(said)
        raise Refused(f"{said}: check notify.slack.token, its scopes and notify.slack.channel")


def _quiet(text: str) -> dict[str, Any]:
    """The text of the notification, in which Slack reads `&`, `<` and `>` as its own; no name in it is linked."""
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), "link_names": False}


def _text(text: str, *, bold: bool = False) -> dict[str, Any]:
    return {"type": "text", "text": text or " ", **({"style": {"bold": True}} if bold else {})}


def _section(elements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": [*elements, {"type": "text", "text": "\n"}]}


def _change(card: Card) -> Iterator[dict[str, Any]]:
    if card.change:
        yield _section([_text(card.change_label, bold=True)])
        yield {"type": "rich_text_preformatted", "elements": [_text("\n".join(card.change))]}


def _button(button: CardButton) -> dict[str, Any]:
    style = {} if button.choice is Choice.SIGN else {"style": "danger"}
    style = {"style": "primary"} if button.choice is Choice.SIGN else style
    text = {"type": "plain_text", "text": button.text[:_BUTTON], "emoji": False}
    return {
        "type": "button",
        "action_id": SIGN if button.choice is Choice.SIGN else REJECT,
        "text": text,
        "value": button.approval,
        **style,
    }
