"""The receiver of docs/channels.md, run as it stands there: it takes what Mendstream signs, once, and nothing else."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from adapters.errors import Refused
from adapters.notify import WebhookChannel
from adapters.notify.webhook import signature, verify_signature
from schemas.secret import Secret, SecretUrl

PAGE = (Path(__file__).parents[2] / "docs" / "channels.md").read_text("utf-8")
SECRET = "a shared secret of this test"
NOW = datetime.now(UTC)


class Receiver:
    """The process of the example."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().strip()


@pytest_asyncio.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"MEND_NOTIFY_WEBHOOK_SECRET": SECRET, "PORT": "0"},
    )
    receiver = Receiver(process)
    receiver.url = f"http://127.0.0.1:{(await receiver.line()).rpartition(' ')[2]}/hook"
    yield receiver
    process.kill()
    await process.wait()


def channel(url: str, *, secret: str = SECRET, age: float = 0.0) -> WebhookChannel:
    return WebhookChannel(SecretUrl(url), clock=lambda: datetime.now(UTC) - timedelta(seconds=age), secret=Secret(secret))


async def test_the_example_takes_what_is_signed_and_each_message_once(receiver: Receiver) -> None:
    ours = channel(receiver.url)
    for delivery, text in (("1", "first"), ("1", "first"), ("2", "second")):
        await ours.send([text], delivery=delivery)
    assert [await receiver.line(), await receiver.line()] == ["first", "second"]
    await ours.close()


@pytest.mark.parametrize("fields", [{"secret": "another secret"}, {"age": 301.0}, {"age": -301.0}, {"secret": ""}])
async def test_the_example_refuses_what_is_forged_old_or_not_signed(receiver: Receiver, fields: dict[str, str | float]) -> None:
    wrong, ours = channel(receiver.url, **fields), channel(receiver.url)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="webhook answered 401"):
        await wrong.send(["forged"], delivery="1")
    await ours.send(["genuine"], delivery="2")
    assert await receiver.line() == "genuine"
    await wrong.close()
    await ours.close()


async def test_the_example_refuses_a_body_that_was_changed(receiver: Receiver) -> None:
    body = b'{"delivery": "1", "text": "heal", "lines": ["heal"]}'
    timestamp = str(int(datetime.now(UTC).timestamp()))
    headers = {"Mend-Timestamp": timestamp, "Mend-Signature": signature(SECRET.encode(), timestamp, body)}
    async with httpx.AsyncClient() as client:
        assert (await client.post(receiver.url, content=body.replace(b"heal", b"harm"), headers=headers)).status_code == 401
        assert (
            await client.post(receiver.url, content=body, headers=headers | {"Mend-Timestamp": str(int(timestamp) - 1)})
        ).status_code == 401
        assert (await client.post(receiver.url, content=body, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("age", "given", "fine"), [(0, "", True), (299, "", True), (301, "", False), (-301, "", False), (0, "sha256=0", False), (0, "é", False)]
)
def test_a_signature_is_good_for_five_minutes(age: int, given: str, fine: bool) -> None:
    timestamp = str(int(NOW.timestamp()) - age)
    right = signature(b"secret", timestamp, b"body")
    assert verify_signature(b"secret", timestamp, b"body", given or right, now=int(NOW.timestamp())) is fine


@pytest.mark.parametrize("timestamp", ["", "x", "²", "9" * 30, "-1"])
def test_a_timestamp_that_is_none_is_refused(timestamp: str) -> None:
    assert not verify_signature(b"secret", timestamp, b"body", signature(b"secret", timestamp, b"body"), now=NOW.timestamp())
