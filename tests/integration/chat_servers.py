"""Local servers that speak the APIs of Slack and Telegram as far as Mendstream uses them, and refuse what those would refuse."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from html.parser import HTMLParser
from typing import Any

import msgspec

Reply = tuple[int, dict[str, Any], dict[str, str]]
SLACK_TOKEN = "xoxb-a-token-of-this-test"
TELEGRAM_TOKEN = "123456:a-token-of-this-test"
CHANNEL = "C0123456789"
CHAT = "-1001234567890"


class ChatServer(ABC):
    """A real HTTP server. `faults` are answers that are given first, in place of the right ones."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[Reply] = []
        self.wrong: list[str] = []
        self.heard = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def named(self, method: str) -> list[dict[str, Any]]:
        return [body for name, body in self.calls if name == method]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest if line)}
            body = msgspec.json.decode(await reader.readexactly(int(headers["content-length"])))
            status, fields, extra = self.faults.pop(0) if self.faults else self._answer(first.split(" ")[1], headers, body)
            text = msgspec.json.encode(fields)
            head = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\nConnection: close\r\n{head}\r\n".encode() + text)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.heard.set()
            writer.close()

    def _answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        method = path.rpartition("/")[2]
        self.calls.append((method, body))
        status, fields = self.work(path, method, headers, body)
        if fields.get("ok") is not True:
            self.wrong.append(f"{method}: {fields}")
        return status, fields, {}

    @abstractmethod
    def work(self, path: str, method: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]: ...


class SlackServer(ChatServer):
    """Keeps messages by their `ts`, and takes only blocks that Slack would take."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[str, dict[str, Any]] = {}

    def work(self, path: str, method: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if headers.get("authorization") != f"Bearer {SLACK_TOKEN}":
            return 200, {"ok": False, "error": "invalid_auth"}
        if body.get("channel") != CHANNEL:
            return 200, {"ok": False, "error": "channel_not_found"}
        if problem := next((why for block in body["blocks"] if (why := _wrong_block(block))), ""):
            return 200, {"ok": False, "error": "invalid_blocks", "why": problem}
        if method == "chat.update":
            if body["ts"] not in self.messages:
                return 200, {"ok": False, "error": "message_not_found"}
            self.messages[body["ts"]] = body
            return 200, {"ok": True, "channel": CHANNEL, "ts": body["ts"]}
        if "thread_ts" in body and body["thread_ts"] not in self.messages:
            return 200, {"ok": False, "error": "thread_not_found"}
        ts = f"1700000000.{len(self.calls):06}"
        if method == "chat.postMessage" and "thread_ts" not in body:
            self.messages[ts] = body
        return 200, {"ok": True, "channel": CHANNEL, "ts": ts}

    def cards(self) -> list[str]:
        return [_all_text(message["blocks"]) for message in self.messages.values()]

    def buttons(self) -> list[list[tuple[str, str]]]:
        found = []
        for message in self.messages.values():
            rows = [block["elements"] for block in message["blocks"] if block["type"] == "actions"]
            found.append([(button["action_id"], button["value"]) for row in rows for button in row])
        return found

    def replies(self) -> list[str]:
        return [_all_text(body["blocks"]) for body in self.named("chat.postMessage") if "thread_ts" in body]


def _wrong_block(block: dict[str, Any]) -> str:
    match block["type"]:
        case "header":
            text = block["text"]
            return "" if text["type"] == "plain_text" and 0 < len(text["text"]) <= 150 else "header"
        case "rich_text":
            kinds = {element["type"] for element in block["elements"]}
            inner = [part for element in block["elements"] for part in element["elements"]]
            fine = all(part["type"] == "text" and part["text"] for part in inner)
            return "" if fine and kinds <= {"rich_text_section", "rich_text_preformatted"} else "rich_text"
        case "actions":
            fine = all(
                button["type"] == "button" and len(button["text"]["text"]) <= 75 and len(button["value"]) <= 2000
                for button in block["elements"]
            )
            return "" if fine and 0 < len(block["elements"]) <= 25 else "actions"
        case other:
            return f"no block {other}"


def _all_text(value: Any) -> str:
    if isinstance(value, dict):
        own = value["text"] if isinstance(value.get("text"), str) else ""
        return own + "".join(_all_text(item) for item in value.values() if not isinstance(item, str))
    return "".join(_all_text(item) for item in value) if isinstance(value, list) else ""


class _Page(HTMLParser):
    """HTML as Telegram takes it: a few tags, balanced; a link or anything else is wrong."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.problem = ""
        self.text = ""
        self.feed(text)
        self.close()
        self.problem = self.problem or ("unclosed" if self.open else "")

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in {"b", "code", "pre"} or attrs:
            self.problem = f"tag {tag}"
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problem = f"end of {tag}"

    def handle_data(self, data: str) -> None:
        self.text += data


class TelegramServer(ChatServer):
    """Keeps messages by their number, and takes only texts that Telegram would take."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[int, dict[str, Any]] = {}

    def work(self, path: str, method: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path != f"/bot{TELEGRAM_TOKEN}/{method}":
            return 401, _refusal(401, "Unauthorized")
        if method == "answerCallbackQuery":
            return (
                (200, {"ok": True, "result": True}) if len(body["text"]) <= 200 else (400, _refusal(400, "Bad Request: MESSAGE_TOO_LONG"))
            )
        if body["chat_id"] != CHAT:
            return 400, _refusal(400, "Bad Request: chat not found")
        page = _Page(body["text"])
        if page.problem:
            return 400, _refusal(400, f"Bad Request: can't parse entities: {page.problem}")
        if not 0 < len(page.text.encode("utf-16-le")) // 2 <= 4096:
            return 400, _refusal(400, "Bad Request: message is too long")
        keys = [key for row in body.get("reply_markup", {}).get("inline_keyboard", []) for key in row]
        if any(len(key["callback_data"].encode()) > 64 for key in keys):
            return 400, _refusal(400, "Bad Request: BUTTON_DATA_INVALID")
        return self._keep(method, body, page.text, keys)

    def _keep(self, method: str, body: dict[str, Any], text: str, keys: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        kept = {"text": text, "keys": [key["callback_data"] for key in keys], "reply": body.get("reply_parameters", {}).get("message_id")}
        number = body.get("message_id", len(self.messages) + 1)
        if method == "editMessageText":
            if number not in self.messages:
                return 400, _refusal(400, "Bad Request: message to edit not found")
            if self.messages[number] == kept:
                return 400, _refusal(400, "Bad Request: message is not modified")
        self.messages[number] = kept
        return 200, {"ok": True, "result": {"message_id": number, "chat": {"id": int(CHAT)}}}

    def cards(self) -> list[str]:
        return [message["text"] for message in self.messages.values() if message["reply"] is None]

    def buttons(self) -> list[list[tuple[str, str]]]:
        named = {"s": "mend_sign", "r": "mend_reject"}
        kept = [message for message in self.messages.values() if message["reply"] is None]
        return [[(named[key.partition(":")[0]], key.partition(":")[2]) for key in message["keys"]] for message in kept]

    def replies(self) -> list[str]:
        return [message["text"] for message in self.messages.values() if message["reply"] is not None]


def _refusal(code: int, words: str) -> dict[str, Any]:
    return {"ok": False, "error_code": code, "description": words}
