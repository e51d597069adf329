"""The doors for presses in Slack and Telegram, served for real: who is proven and listed casts a vote, and everybody else is refused."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
import pytest_asyncio

from adapters.ports import CardChannel
from bus.errors import BusUnavailable
from ops.api.server import bind, serve, url_of
from ops.channels import presses
from ops.channels.accounts import accounts
from ops.channels.doors import open_doors
from ops.channels.slack import signature
from ops.errors import SettingsWrong
from ops.settings import PersonSettings, Settings
from ops.wiring import open_channels, open_slack, open_telegram
from schemas.action import RestartWorkload
from schemas.event import Event
from schemas.events import ActionApproved, ActionRejected, ApprovalRequested, ApprovalSigned, VoteRefused
from schemas.secret import Secret, Token
from schemas.words import ApprovalState, Choice, Language, Severity
from sql.approvals import ApprovalRow
from sql.audit import AuditRow, audit_rows
from sql.database import Database
from sql.errors import StoreUnavailable
from stages.notify.options import NotifyOptions, SlackOptions, TelegramOptions
from stages.notify.stage import Notify
from tests.integration.chat_servers import CHANNEL, CHAT, SLACK_TOKEN, TELEGRAM_TOKEN, SlackServer, TelegramServer
from tests.integration.healing import eventually
from tests.integration.scene import Scene, deployment, gate, only, requested, row
from tests.integration.test_notify_cards import waiting

SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"
SECRET = "a-secret-token-of-setWebhook"
PEOPLE = {"ann": PersonSettings(slack="U0ANN", telegram="1001"), "bob": PersonSettings(slack="U0BOB", telegram="1002")}


class Hall:
    """A ballot box of the test: the vote is signed as a process of ours signs it, and the gate itself counts it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.cast_by: list[tuple[str, str, str]] = []
        self.answers: list[Event] = []
        self.error: Exception | None = None

    async def cast(self, approval: str, choice: Choice, *, person: str, origin: str, comment: str) -> str:
        self.cast_by.append((person, choice.value, origin))
        if self.error:
            raise self.error
        vote = self.scene.vote(await row(self.scene, approval), person, choice, origin=origin, comment=comment)
        (answer,) = await self.scene.handle(gate(self.scene), vote)
        assert isinstance(answer, Event)
        self.answers.append(answer)
        return answer.reason if isinstance(answer, VoteRefused) else type(answer).__name__


class Door(ABC):
    """One channel as its service would call it."""

    name: str
    ann: str
    bob: str
    stranger: str
    server: SlackServer | TelegramServer

    def __init__(self, api: str, scene: Scene, server: SlackServer | TelegramServer) -> None:
        self.api, self.scene, self.server = api, scene, server
        self.presses = 0

    @abstractmethod
    def request(self, account: str, approval: str, choice: Choice) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a new press, as the service sends it now."""

    @property
    @abstractmethod
    def path(self) -> str: ...

    @abstractmethod
    def told(self) -> list[str]:
        """What pressers were told."""

    async def send(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            raw = {name.encode(): value.encode() for name, value in headers.items()}
            return await client.post(self.api + self.path, content=body, headers=raw)

    async def press(self, account: str, approval: str, choice: Choice = Choice.SIGN) -> str:
        """Presses, and waits for what the presser is told."""
        before = len(self.told())
        answer = await self.send(*self.request(account, approval, choice))
        assert answer.status_code == 200
        await self.until_told(before + 1)
        return self.told()[-1]

    async def until_told(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.told()) >= count

        await eventually(enough)


class SlackDoor(Door):
    name, ann, bob, stranger = "slack", "U0ANN", "U0BOB", "U0EVE"
    path = "/v1/slack/interactivity"

    def request(self, account: str, approval: str, choice: Choice) -> tuple[bytes, dict[str, str]]:
        self.presses += 1
        action = {"action_id": f"mend_{choice.value}", "value": approval, "type": "button"}
        payload = {
            "type": "block_actions",
            "user": {"id": account, "name": "ann"},
            "channel": {"id": CHANNEL},
            "actions": [action],
            "trigger_id": str(self.presses),
        }
        return self.signed(urlencode({"payload": json.dumps(payload)}).encode())

    def signed(self, body: bytes, age: float = 0.0, secret: str = SIGNING) -> tuple[bytes, dict[str, str]]:
        timestamp = str(int(self.scene.now.timestamp() - age))
        headers = {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature(secret.encode(), timestamp, body)}
        return body, {"Content-Type": "application/x-www-form-urlencoded", **headers}

    def told(self) -> list[str]:
        return [body["text"] for body in self.server.named("chat.postEphemeral")]


class TelegramDoor(Door):
    name, ann, bob, stranger = "telegram", "1001", "1002", "666"
    path = "/v1/telegram/webhook"

    def request(self, account: str, approval: str, choice: Choice) -> tuple[bytes, dict[str, str]]:
        self.presses += 1
        chat = {"id": int(CHAT), "type": "supergroup"}
        query = {
            "id": f"query-{self.presses}",
            "from": {"id": int(account), "is_bot": False, "first_name": "ann"},
            "message": {"message_id": 1, "chat": chat},
            "data": f"{choice.value[0]}:{approval}",
        }
        body = json.dumps({"update_id": 900 + self.presses, "callback_query": query}).encode()
        return body, {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": SECRET}

    def told(self) -> list[str]:
        return [body["text"] for body in self.server.named("answerCallbackQuery")]


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


@pytest.fixture
def hall(scene: Scene) -> Hall:
    return Hall(scene)


@pytest_asyncio.fixture(params=["slack", "telegram"])
async def door(
    request: pytest.FixtureRequest, scene: Scene, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SlackDoor | TelegramDoor]:
    from litestar import Litestar

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    slack, telegram = SlackServer(), TelegramServer()
    await slack.start()
    await telegram.start()
    doors = open_doors(settings(slack.url, telegram.url), scene.database, hall, clock=lambda: scene.now)
    listener, stop = bind("127.0.0.1", 0), asyncio.Event()
    serving = asyncio.create_task(serve(Litestar(doors.routers, logging_config=None, openapi_config=None), listener, stop))
    url = url_of(listener)
    yield SlackDoor(url, scene, slack) if request.param == "slack" else TelegramDoor(url, scene, telegram)
    stop.set()
    await serving
    listener.close()
    await doors.close()
    await slack.stop()
    await telegram.stop()


def settings(slack: str, telegram: str, language: Language = Language.ENGLISH) -> Settings:
    slack_options = SlackOptions(token=Token(SLACK_TOKEN), channel=CHANNEL, signing_secret=Secret(SIGNING), url=slack, language=language)
    chat = TelegramOptions(token=Token(TELEGRAM_TOKEN), chat=CHAT, secret_token=Token(SECRET), url=telegram, language=language)
    return Settings(notify=NotifyOptions(slack=slack_options, telegram=chat), people=PEOPLE)


async def audited(scene: Scene) -> list[AuditRow]:
    async with scene.database.connection() as connection:
        return [found for found in await audit_rows(connection) if found.what == "press a button"]


async def test_two_people_sign_by_pressing_and_the_gate_approves(scene: Scene, hall: Hall, door: Door) -> None:
    waits = await requested(scene)  # P0: two signatures
    assert await door.press(door.ann, waits.id) == f"ann: {ApprovalSigned.__name__}"
    assert "this person has signed already" in await door.press(door.ann, waits.id)
    assert await door.press(door.bob, waits.id) == f"bob: {ActionApproved.__name__}"
    found = await row(scene, waits.id)
    assert (found.state, set(found.signers)) == (ApprovalState.APPROVED, {"ann", "bob"})
    assert hall.cast_by[0] == ("ann", "sign", f"{door.name}/{door.ann}")


async def test_one_rejection_ends_it_and_stops_what_was_approved(scene: Scene, door: Door) -> None:
    waits = await requested(scene, severity=Severity.P2)
    assert await door.press(door.ann, waits.id) == f"ann: {ActionApproved.__name__}"
    assert await door.press(door.bob, waits.id, Choice.REJECT) == f"bob: {ActionRejected.__name__}"
    assert (await row(scene, waits.id)).state is ApprovalState.REJECTED


async def test_a_button_of_the_card_signs_and_then_the_card_has_none_to_sign(scene: Scene, hall: Hall, door: Door) -> None:
    chosen = settings(door.server.url, door.server.url)
    channel = open_slack(chosen) if door.name == "slack" else open_telegram(chosen)
    stage = Notify(scene.database, [channel])
    waits, wanted = await waiting(scene)
    await scene.handle(stage, wanted)
    ((sign, _),) = door.server.buttons()
    await door.press(door.ann, sign[1], Choice(sign[0].removeprefix("mend_")))
    (approved,) = hall.answers
    await scene.handle(stage, approved, backed=False)
    assert "signed by ann" in door.server.cards()[0]
    assert door.server.buttons() == [[("mend_reject", waits.id)]]
    assert door.server.wrong == []
    await channel.close()


async def test_who_is_not_listed_is_refused_and_audited(scene: Scene, hall: Hall, door: Door) -> None:
    waits = await requested(scene, severity=Severity.P2)
    assert "not listed under [people]" in await door.press(door.stranger, waits.id)
    assert hall.cast_by == []
    (found,) = await audited(scene)
    assert (found.state, found.who) == ("refused", f"{door.name}/{door.stranger}")
    assert found.error.startswith("unlisted: ")
    assert waits.id in found.about
    assert (await row(scene, waits.id)).signers == ()


async def test_a_replayed_press_is_refused_and_audited_once(scene: Scene, hall: Hall, door: Door) -> None:
    waits = await requested(scene)
    request = door.request(door.ann, waits.id, Choice.SIGN)
    for _ in range(3):
        assert (await door.send(*request)).status_code == 200
    await door.until_told(3)
    assert sorted(door.told()) == ["This press was taken before; nothing more was done."] * 2 + ["ann: ApprovalSigned"]
    assert len(hall.cast_by) == 1
    (found,) = await audited(scene)
    assert (found.state, found.error) == ("refused", "replayed: this very press was taken before")


async def test_a_press_that_comes_too_late_is_refused_and_audited(scene: Scene, hall: Hall, door: Door) -> None:
    waits = await requested(scene, severity=Severity.P2)
    await door.press(door.ann, waits.id)
    assert "late: it is approved already" in await door.press(door.bob, waits.id)
    other = await requested_elsewhere(scene)
    scene.now = other.expires_at
    assert "late: the time to sign is over" in await door.press(door.bob, other.id)
    for unknown in ("no-such-approval", "\0", other.incident):
        assert "there is no such approval" in await door.press(door.bob, unknown)
    assert len(hall.cast_by) == 1
    rows = await audited(scene)
    assert {found.who for found in rows} == {"person/bob"}
    assert len(rows) == 5


async def requested_elsewhere(scene: Scene) -> ApprovalRow:
    target = deployment("other")
    proposal = scene.proposal(await scene.incident(target), RestartWorkload(target=target), severity=Severity.P2)
    return await row(scene, only(await scene.handle(gate(scene), proposal), ApprovalRequested).approval)


async def test_what_is_not_proven_is_refused_without_being_read(scene: Scene, hall: Hall, door: Door) -> None:
    waits = await requested(scene, severity=Severity.P2)
    body, headers = door.request(door.ann, waits.id, Choice.SIGN)
    proof = "X-Slack-Signature" if door.name == "slack" else "X-Telegram-Bot-Api-Secret-Token"
    forged = [headers | {proof: value} for value in ("", "v0=" + "0" * 64, headers[proof][:-1], headers[proof] + "0", "é")]
    forged.append({name: value for name, value in headers.items() if name != proof})
    for wrong in forged:
        answer = await door.send(body, wrong)
        assert answer.status_code == 401
        assert proof in answer.json()["detail"]
    assert (hall.cast_by, door.told()) == ([], [])
    (found,) = await audited(scene)
    assert (found.state, found.who) == ("refused", f"{door.name}/unknown")
    assert found.error.startswith("forged: ")
    scene.later(60)
    await door.send(body, forged[0])
    assert len(await audited(scene)) == 2, "one row a minute"


async def test_what_cannot_be_worked_now_may_be_pressed_again(scene: Scene, hall: Hall, door: Door) -> None:
    waits = await requested(scene, severity=Severity.P2)
    hall.error = StoreUnavailable("Postgres cannot be reached")
    request = door.request(door.ann, waits.id, Choice.SIGN)
    await door.send(*request)
    await door.until_told(1)
    assert door.told() == ["Nothing was done: Postgres cannot be reached. Please press again later."]
    hall.error = None
    await door.send(*request)
    await door.until_told(2)
    assert door.told()[1] == f"ann: {ActionApproved.__name__}"


async def test_a_press_whose_vote_may_have_been_cast_is_not_said_to_have_done_nothing(scene: Scene, hall: Hall, door: Door) -> None:
    waits = await requested(scene, severity=Severity.P2)
    hall.error = BusUnavailable("Redis cannot be reached")
    request = door.request(door.ann, waits.id, Choice.SIGN)
    for count in (1, 2):
        await door.send(*request)
        await door.until_told(count)
    assert door.told()[0].startswith("It is not known whether your vote was cast: Redis cannot be reached. Look at the card")
    assert door.told()[1] == "This press was taken before; nothing more was done."
    assert len(hall.cast_by) == 1


async def test_a_replay_that_cannot_be_audited_is_still_a_replay(
    scene: Scene, hall: Hall, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("Postgres cannot be reached")

    waits = await requested(scene)
    request = door.request(door.ann, waits.id, Choice.SIGN)
    await door.send(*request)
    await door.until_told(1)
    with monkeypatch.context() as patched:
        patched.setattr(presses, "audit_open", away)
        await door.send(*request)
        await door.until_told(2)
    await door.send(*request)
    await door.until_told(3)
    assert door.told()[2] == "This press was taken before; nothing more was done."
    assert len(hall.cast_by) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[", b"payload=%7B", b"payload=%5B%5D", b"\xff\xfe", b'{"update_id": "x"}', b"payload=" + b"[" * 9000]
)
async def test_what_is_no_press_does_nothing_and_is_no_error_of_ours(scene: Scene, hall: Hall, door: Door, body: bytes) -> None:
    headers = door.signed(body)[1] if isinstance(door, SlackDoor) else door.request(door.ann, "a", Choice.SIGN)[1]
    answer = await door.send(body, headers)
    assert answer.status_code == 400, answer.text
    assert hall.cast_by == []


async def test_other_interactions_and_updates_are_taken_and_do_nothing(scene: Scene, hall: Hall, door: Door) -> None:
    for text in (
        '{"update_id": 1, "message": {"text": "hi"}}',
        '{"update_id": 2, "callback_query": {"id": "q", "from": {"id": 1001}, "data": "x"}}',
    ):
        if isinstance(door, SlackDoor):
            request = door.signed(urlencode({"payload": text}).encode())
        else:
            request = text.encode(), door.request(door.ann, "a", Choice.SIGN)[1]
        assert (await door.send(*request)).status_code == 200
    assert (hall.cast_by, door.told()) == ([], [])


async def test_a_body_that_is_too_large_is_refused(scene: Scene, hall: Hall, door: Door) -> None:
    headers = door.request(door.ann, "a", Choice.SIGN)[1]
    assert (await door.send(b"x" * 300_000, headers)).status_code in (400, 413)
    assert hall.cast_by == []


@pytest.mark.parametrize("door", ["slack"], indirect=True)
async def test_slack_requests_are_good_for_five_minutes(scene: Scene, hall: Hall, door: SlackDoor) -> None:
    waits = await requested(scene, severity=Severity.P2)
    body, _ = door.request(door.ann, waits.id, Choice.SIGN)
    for age in (301, -301):
        answer = await door.send(*door.signed(body, age=age))
        assert (answer.status_code, "300 s" in answer.json()["detail"]) == (401, True)
    assert (await door.send(*door.signed(body, secret="another secret"))).status_code == 401
    assert {found.error.partition(":")[0] for found in await audited(scene)} == {"late", "forged"}
    assert hall.cast_by == []
    assert (await door.send(*door.signed(body, age=299))).status_code == 200
    await door.until_told(1)
    assert len(hall.cast_by) == 1


def test_the_signature_is_the_one_of_slacks_own_example() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA"
        b"&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J"
        b"%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    proof = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert signature(SIGNING.encode(), "1531420618", body) == proof


@pytest.mark.parametrize("door", ["telegram"], indirect=True)
async def test_in_telegram_the_presser_counts_and_not_the_chat(scene: Scene, hall: Hall, door: TelegramDoor) -> None:
    waits = await requested(scene, severity=Severity.P2)
    body, headers = door.request(door.ann, waits.id, Choice.SIGN)
    await door.send(body.replace(CHAT.encode(), b"42"), headers)
    await door.until_told(1)
    assert [person for person, _, _ in hall.cast_by] == ["ann"]
    assert "not listed" in await door.press(door.stranger, waits.id)


async def test_two_people_never_share_an_account() -> None:
    shared = Settings(people={"ann": PersonSettings(slack="U1"), "bob": PersonSettings(slack="U1")})
    with pytest.raises(SettingsWrong, match=r"people\.bob\.slack is the account of ann as well"):
        accounts(shared, "slack")
    assert accounts(shared, "telegram") == {}


async def test_the_channels_are_those_of_the_settings(scene: Scene) -> None:
    given = settings("http://127.0.0.1:1", "http://127.0.0.1:1", Language.CHINESE)
    channels = open_channels(given)
    assert [channel.name for channel in channels] == ["log", "slack", "telegram"]
    assert [channel.language for channel in channels if isinstance(channel, CardChannel)] == [Language.CHINESE] * 2
    assert [channel.name for channel in open_channels(Settings())] == ["log"]
    shown = repr(given) + repr(given.notify)
    assert not [secret for secret in (SLACK_TOKEN, TELEGRAM_TOKEN, SIGNING, SECRET) if secret in shown]


def test_without_a_way_to_prove_presses_there_is_no_door(scene: Scene, hall: Hall) -> None:
    assert open_doors(Settings(), scene.database, hall).routers == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"token": Token("x" * 16)}, "set both"),
        ({"signing_secret": Secret("x")}, "proves nothing"),
        ({"url": "http://slack.example/api"}, "must begin with https://"),
        ({"url": "https://user@slack.com/api"}, "no user name"),
    ],
)
def test_settings_that_could_never_work_say_so(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        msgspec.structs.replace(SlackOptions(), **options)
