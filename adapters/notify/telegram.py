"""Telegram: one message for each incident, edited in place, answered by replies.

Everything is HTML in which every text is escaped; what may be from outside stands in `<code>`, so that no link or name in it is live.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.errors import MessageGone, Refused, Transient, Unsendable
from adapters.notify.client import PostClient
from adapters.ports import Card, CardLine
from schemas.secret import Secret
from schemas.words import Choice, Language

LETTERS = {"s": Choice.SIGN, "r": Choice.REJECT}
"""The letter before the colon in the data of a button; the id of the approval is after it."""

_LIMIT = 4000  # characters of one message without its markup; Telegram takes 4096
_CHANGE = 120  # characters of a line of the diff
_SHORTEST = 20  # characters that are left of every text
_ANSWER = 200
_BAD_REQUEST = 400
_UNCHANGED = "message is not modified"
_GONE = ("message to edit not found", "message_id_invalid", "message to be replied not found")
_CHAT = ("chat not found", "group chat was", "peer_id_invalid", "not enough rights", "have no rights")


class TelegramChannel:
    """Posts to one chat as a bot. The id of a message is `CHAT:MESSAGE`. Without `buttons` cards have none."""

    name = "telegram"

    def __init__(
        self, token: Secret, chat: str, *, language: Language = Language.ENGLISH, url: str, buttons: bool, timeout: float = 5.0
    ) -> None:
        self.language = language
        self._token = token
        self._chat = chat
        self._url = url.rstrip("/")
        self._buttons = buttons
        self._client = PostClient(self.name, timeout=timeout)

    async def send(self, lines: Sequence[str], *, delivery: str) -> None:  # noqa: ARG002 - Telegram knows no ids of ours
        await self._call("sendMessage", {"chat_id": self._chat} | _message(lines))

    async def post(self, card: Card) -> str:
        result = await self._call("sendMessage", {"chat_id": self._chat} | self._shown(card))
        chat = result.get("chat", {}).get("id", self._chat)
        return f"{chat}:{result.get('message_id', '')}"

    async def edit(self, message: str, card: Card) -> None:
        await self._call("editMessageText", _place(message) | self._shown(card))

    async def reply(self, message: str, lines: Sequence[str], *, loud: bool) -> None:
        place = _place(message)
        answers = {"message_id": place["message_id"], "allow_sending_without_reply": True}
        body = {"chat_id": place["chat_id"], "reply_parameters": answers, "disable_notification": not loud}
        await self._call("sendMessage", body | _message(lines))

    async def answer_press(self, press: str, text: str) -> None:
        """Tells who pressed a button what became of it; nobody else sees it."""
        await self._call("answerCallbackQuery", {"callback_query_id": press, "text": text[:_ANSWER], "show_alert": True})

    async def close(self) -> None:
        await self._client.close()

    def _shown(self, card: Card) -> dict[str, Any]:
        keys = [{"text": button.text, "callback_data": f"{_letter(button.choice)}:{button.approval}"} for button in card.buttons]
        return _text(_page(card)) | {"reply_markup": {"inline_keyboard": [keys] if keys and self._buttons else []}}

    async def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call of the Bot API. Raises Transient, Busy, Unsendable, MessageGone and Refused, with Telegram's own words."""
        url = f"{self._url}/bot{self._token.reveal()}/{method}"
        answer = await self._client.post(url, msgspec.json.encode(body), {"Content-Type": "application/json"})
        fields = answer.fields
        if fields.get("ok") is True:
            result = fields.get("result")
            return result if isinstance(result, dict) else {}
        words = str(fields.get("description") or f"status {answer.status}")[:200].replace(self._token.reveal(), "***")
        said, low = f"telegram will not have it ({method}): {words}", words.lower()
        if _UNCHANGED in low:
            return {}
        if not fields:
            raise Transient(said)
        if any(word in low for word in _GONE):
            raise MessageGone(said)
        if answer.status == _BAD_REQUEST and not any(word in low for word in _CHAT):
            raise Unsendable(said)
        raise Refused(f"{said}: check notify.telegram.token and notify.telegram.chat")


def _letter(choice: Choice) -> str:
    return next(letter for letter, meant in LETTERS.items() if meant is choice)


def _place(message: str) -> dict[str, Any]:
    chat, _, number = message.rpartition(":")
    return {"chat_id": chat, "message_id": int(number) if number.isdigit() else 0}


def _text(text: str) -> dict[str, Any]:
    return {"text": text, "parse_mode": "HTML", "link_preview_options": {"is_disabled": True}}


def _message(lines: Sequence[str]) -> dict[str, Any]:
    return _text("\n".join(f"<code>{html.escape(line)}</code>" for line in _fitted(list(lines), _LIMIT)))


def _page(card: Card) -> str:
    change = [line[:_CHANGE] for line in card.change]
    fixed = (
        len(card.title) + len(card.change_label) + sum(len(line) + 1 for line in change) + sum(len(line.label) + 3 for line in card.lines)
    )
    texts = _fitted([line.text for line in card.lines], _LIMIT - fixed)
    lines = [CardLine(line.label, text) for line, text in zip(card.lines, texts, strict=True)]
    page = [
        f"<b>{html.escape(card.title)}</b>",
        *(f"<b>{html.escape(one.label)}</b> <code>{html.escape(one.text)}</code>" for one in lines),
    ]
    if change:
        body = "\n".join(change)
        page += [f"<b>{html.escape(card.change_label)}</b>", f"<pre>{html.escape(body)}</pre>"]
    return "\n".join(page)


def _fitted(texts: list[str], limit: int) -> list[str]:
    """The texts, the longest of them shortened until all together fit: no line is lost for another."""
    while sum(_size(text) + 1 for text in texts) > limit and (longest := max(texts, key=_size)) and len(longest) > _SHORTEST:
        texts[texts.index(longest)] = longest[: len(longest) * 3 // 4] + "…"
    return texts


def _size(text: str) -> int:
    """The length as Telegram counts it: in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2
