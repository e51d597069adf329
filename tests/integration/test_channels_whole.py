"""From an alert to the outcome in Slack, by real processes: two people press the button of a card, and the card tells what came of it."""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import urlencode

import httpx
import pytest

from ops.channels.slack import signature
from tests.integration.chat_servers import CHANNEL, SLACK_TOKEN, SlackServer
from tests.integration.healing import eventually
from tests.integration.mend_process import SETTINGS, end, installation
from tests.integration.test_cli import alert, break_workload

pytestmark = pytest.mark.slow
SIGNING = "a-signing-secret-of-this-test"


async def press(api: str, account: str, approval: str) -> None:
    """Presses the button that signs, as Slack would tell it."""
    action = {"action_id": "mend_sign", "value": approval}
    payload = {"type": "block_actions", "user": {"id": account}, "channel": {"id": CHANNEL}, "actions": [action]}
    body, timestamp = urlencode({"payload": json.dumps(payload)}).encode(), str(int(time.time()))
    headers = {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature(SIGNING.encode(), timestamp, body)}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{api}/v1/slack/interactivity", content=body, headers=headers)
    assert answer.status_code == 200, answer.text


async def test_two_people_press_and_the_card_tells_the_outcome() -> None:
    slack = SlackServer()
    await slack.start()
    lines = [f'token = "{SLACK_TOKEN}"', f'channel = "{CHANNEL}"', f'signing_secret = "{SIGNING}"', f'url = "{slack.url}"']
    settings = SETTINGS.replace("[people.ana]\n", '[people.ana]\nslack = "U0ANA"\n').replace(
        "[people.ben]\n", '[people.ben]\nslack = "U0BEN"\n'
    )
    with installation("\n".join([settings, "[notify.slack]", *lines])) as mend:
        process = await asyncio.to_thread(mend.up, "--sandbox")
        try:
            await break_workload(mend.run.sandbox, "web")
            payload = alert("KubePodCrashLooping", "web", "critical", "web crashes")
            await asyncio.to_thread(mend, "send-alert", "-", stdin=payload)

            async def asked() -> bool:
                return any(slack.buttons())

            await eventually(asked)
            ((sign, _),) = slack.buttons()
            for account in ("U0EVE", "U0ANA", "U0BEN"):
                await press(mend.run.rest, account, sign[1])

            async def told() -> bool:
                return len(slack.named("chat.postEphemeral")) == 3 and any("HEALED" in reply for reply in slack.replies())

            await eventually(told)
            (card,) = slack.cards()
            assert "signed by ana" in card
            assert "signed by ben" in card
            assert "HEALED" in card
            assert slack.buttons() == [[]]
            assert slack.wrong == []
            said = [body["text"] for body in slack.named("chat.postEphemeral")]
            assert sum("not listed" in text for text in said) == 1
        finally:
            assert await asyncio.to_thread(end, process) == 0
            await slack.stop()
