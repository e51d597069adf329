"""Slack and Telegram, each against a local server that speaks its API: what is posted is taken, and what they refuse is understood."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.errors import AdapterError, Busy, MessageGone, Refused, Transient, Unsendable
from adapters.notify import SlackChannel, TelegramChannel
from adapters.ports import Card, CardButton, CardLine
from bus.handler import Retry
from schemas.secret import Secret
from schemas.words import Choice, Language
from sql.database import Database
from stages.notify.stage import Notify
from tests.integration.chat_servers import CHANNEL, CHAT, SLACK_TOKEN, TELEGRAM_TOKEN, Reply, SlackServer, TelegramServer
from tests.integration.scene import Scene, gate
from tests.integration.test_notify_cards import waiting

Server = SlackServer | TelegramServer
Chat = SlackChannel | TelegramChannel
HOSTILE = "<!channel> <@U1> <http://evil|click> <b>&amp;</b> *x* `y` https://evil.example 🔥"
CARD = Card(title="P1 · x", lines=(CardLine("Why", "y"),), buttons=(CardButton("Sign", Choice.SIGN, "a"),))


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


@pytest_asyncio.fixture(params=[SlackServer, TelegramServer], ids=["slack", "telegram"])
async def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server: Server = request.param()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def chat(server: Server) -> AsyncIterator[Chat]:
    channel = to(server)
    yield channel
    await channel.close()


def to(server: Server, *, token: str = "", place: str = "", buttons: bool = True, language: Language = Language.ENGLISH) -> Chat:
    if isinstance(server, SlackServer):
        return SlackChannel(Secret(token or SLACK_TOKEN), place or CHANNEL, url=server.url, buttons=buttons, language=language)
    return TelegramChannel(Secret(token or TELEGRAM_TOKEN), place or CHAT, url=server.url, buttons=buttons, language=language)


async def test_a_card_is_posted_edited_and_answered_and_its_buttons_go(scene: Scene, server: Server, chat: Chat) -> None:
    stage = Notify(scene.database, [chat])
    row, wanted = await waiting(scene)
    await scene.handle(stage, wanted)
    (shown,) = server.cards()
    for told in ("approval wanted (0 of 1 signatures)", "restart deployment shop/api", "its pods crash", "never done here before"):
        assert told in shown
    assert server.buttons() == [[("mend_sign", row.id), ("mend_reject", row.id)]]
    await scene.handle(gate(scene), scene.vote(row, "ann"))
    done = scene.finished(row)
    await scene.handle(Notify(scene.database, [chat]), done)
    await scene.handle(stage, scene.verified(done))
    assert len(server.cards()) == 1
    assert server.cards()[0].startswith("P3 · HEALED")
    assert "signed by ann" in server.cards()[0]
    assert server.buttons() == [[]]
    assert [reply.splitlines()[0] for reply in server.replies()] == [
        "APPROVAL WANTED: restart deployment shop/api",
        "DONE, NOT YET VERIFIED: restart deployment shop/api, in 1.5 s",
        "HEALED: restart deployment shop/api",
    ]
    assert server.wrong == []


async def test_in_chinese_too(scene: Scene, server: Server) -> None:
    channel = to(server, language=Language.CHINESE)
    _, wanted = await waiting(scene)
    await scene.handle(Notify(scene.database, [channel]), wanted)
    assert "等待核准" in server.cards()[0]
    assert "重新啟動 deployment shop/api" in server.replies()[0]
    await channel.close()


async def test_where_presses_cannot_be_proven_cards_have_no_buttons(scene: Scene, server: Server) -> None:
    channel = to(server, buttons=False)
    _, wanted = await waiting(scene)
    await scene.handle(Notify(scene.database, [channel]), wanted)
    assert server.buttons() == [[]]
    assert server.wrong == []
    await channel.close()


async def test_what_is_from_outside_is_shown_as_it_is_and_is_no_markup(server: Server, chat: Chat) -> None:
    lines = tuple(CardLine("Why", HOSTILE) for _ in range(16))
    card = Card(title="P1", lines=lines, change=(f"+ {HOSTILE}",), change_label="Change", buttons=CARD.buttons)
    message = await chat.post(card)
    await chat.edit(message, card)
    await chat.reply(message, [HOSTILE, HOSTILE], loud=True)
    await chat.send([HOSTILE], delivery="d")
    assert server.wrong in (
        [],
        ["editMessageText: {'ok': False, 'error_code': 400, 'description': 'Bad Request: message is not modified'}"],
    )
    assert server.cards()[0].count(HOSTILE) == 17
    assert HOSTILE in server.replies()[0]
    for _, body in server.calls:
        assert "<!channel>" not in body["text"]
        assert "<http" not in body["text"]


async def test_the_longest_card_is_taken(server: Server, chat: Chat) -> None:
    lines = tuple(CardLine("Label", "🔥" * 500) for _ in range(18))
    card = Card(title="t" * 140, lines=lines, change=("c" * 200,) * 7, change_label="Change", buttons=CARD.buttons)
    await chat.post(card)
    await chat.send(["🔥" * 600] * 12, delivery="d")
    assert server.wrong == []
    assert server.cards()[0].count("Label") == 18, "no line is lost for another"


def slack(error: str) -> Reply:
    return 200, {"ok": False, "error": error}, {}


def telegram(code: int, words: str, **parameters: int) -> Reply:
    return code, {"ok": False, "error_code": code, "description": words, "parameters": parameters}, {}


FAULTS: list[tuple[type[Server], Reply, type[AdapterError]]] = [
    (SlackServer, (429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "31"}), Busy),
    (SlackServer, slack("ratelimited"), Transient),
    (SlackServer, slack("internal_error"), Transient),
    (SlackServer, (503, {}, {}), Transient),
    (SlackServer, (200, {}, {}), Transient),
    (SlackServer, slack("invalid_blocks"), Unsendable),
    (SlackServer, slack("message_not_found"), MessageGone),
    (SlackServer, slack("not_in_channel"), Refused),
    (SlackServer, slack("token_revoked"), Refused),
    (TelegramServer, telegram(429, "Too Many Requests: retry after 31", retry_after=31), Busy),
    (TelegramServer, (502, {}, {}), Transient),
    (TelegramServer, (200, {}, {}), Transient),
    (TelegramServer, telegram(400, "Bad Request: can't parse entities"), Unsendable),
    (TelegramServer, telegram(400, "Bad Request: message to edit not found"), MessageGone),
    (TelegramServer, telegram(400, "Bad Request: chat not found"), Refused),
    (TelegramServer, telegram(403, "Forbidden: bot was kicked from the supergroup chat"), Refused),
    (TelegramServer, telegram(401, f"Unauthorized {TELEGRAM_TOKEN}"), Refused),
]


@pytest.mark.parametrize("server", [SlackServer, TelegramServer], ids=["slack", "telegram"], indirect=True)
async def test_what_they_refuse_is_understood(server: Server, chat: Chat) -> None:
    for kind, fault, error in FAULTS:
        if kind is not type(server):
            continue
        server.faults = [fault]
        with pytest.raises(AdapterError) as caught:
            await chat.edit("C0123456789:1", CARD)
        assert type(caught.value) is error, fault
        assert SLACK_TOKEN not in str(caught.value)
        assert TELEGRAM_TOKEN not in str(caught.value)
        if isinstance(caught.value, Busy):
            assert caught.value.after == 31


async def test_a_rate_limit_is_respected_and_loses_nothing(scene: Scene, server: Server, chat: Chat) -> None:
    stage = Notify(scene.database, [chat])
    _, wanted = await waiting(scene)
    limit: Reply = (429, {"ok": False, "error": "ratelimited", "parameters": {"retry_after": 31}}, {"Retry-After": "31"})
    server.faults = [limit]
    with pytest.raises(Retry) as caught:
        await scene.handle(stage, wanted)
    assert caught.value.after == 31
    scene.later(30)
    with pytest.raises(Retry):
        await scene.handle(stage, wanted)
    assert server.calls == []
    scene.later(1)
    assert await scene.handle(stage, wanted) == []
    assert (len(server.cards()), len(server.replies())) == (1, 1)


async def test_a_token_shows_nowhere(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    channel, wrong = to(server), to(server, token="a-wrong-token-of-this-test")
    await channel.post(CARD)
    with pytest.raises(Refused, match="check notify") as caught:
        await wrong.post(CARD)
    await server.stop()
    with pytest.raises(Transient, match="cannot be reached") as away:
        await channel.post(CARD)
    await server.start()
    shown = caplog.text + str(caught.value) + repr(caught.value.__cause__) + repr(away.value.__cause__) + repr(vars(channel))
    for token in (SLACK_TOKEN, TELEGRAM_TOKEN, "a-wrong-token-of-this-test"):
        assert token not in shown
    await channel.close()
    await wrong.close()


async def test_a_place_that_is_not_there_says_what_to_check(server: Server) -> None:
    channel = to(server, place="elsewhere")
    with pytest.raises(Refused, match=r"not.found.*check notify"):
        await channel.post(CARD)
    await channel.close()
