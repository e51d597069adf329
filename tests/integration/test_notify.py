"""notify: people are told in true words, over every channel, each once, whatever else is down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from adapters.errors import AdapterError, Refused, Transient
from adapters.notify import LogChannel, WebhookChannel, verify_signature
from bus.handler import Reject, Retry
from schemas.action import Investigate
from schemas.event import Event
from schemas.events import (
    ActionApproved,
    ActionHeld,
    ActionRejected,
    ApprovalExpired,
    ApprovalRequested,
    ApprovalSigned,
    ApprovalWithdrawn,
    DeadLettered,
    IncidentOpened,
    IncidentResolved,
    IncidentUpdated,
    PeopleAsked,
    TrustChanged,
    VoteRefused,
)
from schemas.identity import new_id
from schemas.secret import Secret, SecretUrl
from schemas.words import DeadReason, Disposition, Ground, Mode, Outcome, Risk, Severity, SignalStatus, Verdict
from sql.database import Database
from stages.gate.options import GateOptions
from stages.gate.stage import Gate
from stages.notify.options import NotifyOptions
from stages.notify.stage import Notify
from stages.notify.text import lines_of
from tests.integration.scene import KEYS, RESTART, TARGET, Scene

KEY = b"a shared secret"


class Receiver:
    """A real HTTP server that keeps every request, and answers with the statuses it is told to, 200 afterwards."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.silent = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> Receiver:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return self

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hooks/T0P-S3CRET"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head if line)}
            self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
            if not self.silent.is_set():
                status = self.statuses.pop(0) if self.statuses else 200
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()
            else:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()


class Fake:
    """A channel that keeps what it is sent, and fails while it has an error."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: list[tuple[str, list[str]]] = []
        self.error: AdapterError | None = None
        self.tries = 0

    async def send(self, lines: Sequence[str], *, delivery: str) -> None:
        self.tries += 1
        if self.error:
            raise self.error
        self.messages.append((delivery, list(lines)))

    async def close(self) -> None: ...


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


@pytest_asyncio.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = await Receiver().start()
    yield server
    await server.stop()


def webhook(url: str, scene: Scene, timeout: float = 5.0) -> WebhookChannel:
    return WebhookChannel(SecretUrl(url), clock=lambda: scene.now, secret=Secret(KEY.decode()), timeout=timeout)


def asked(scene: Scene, **fields: Any) -> PeopleAsked:
    return PeopleAsked(
        **scene.header("i", by="failure_watch/test"), **({"subject": "s", "reason": "it broke", "question": "what now?"} | fields)
    )


async def test_a_message_is_posted_signed_and_once(scene: Scene, receiver: Receiver) -> None:
    channel = webhook(receiver.url, scene)
    stage = Notify(scene.database, [channel])
    event = asked(scene)
    assert await scene.handle(stage, event) == []
    assert await scene.handle(stage, event) == []
    assert await scene.handle(Notify(scene.database, [channel]), event) == []
    ((headers, body),) = receiver.requests
    message = msgspec.json.decode(body)
    assert message["delivery"] == event.id == headers["mend-delivery"]
    assert message["lines"][:2] == ["P2 PEOPLE NEEDED: it broke", "what now?"]
    assert message["text"] == "\n".join(message["lines"])
    stamp, given, at = headers["mend-timestamp"], headers["mend-signature"], scene.now.timestamp()
    assert verify_signature(KEY, stamp, body, given, now=at)
    assert not verify_signature(KEY, stamp, body + b" ", given, now=at)
    assert not verify_signature(b"other", stamp, body, given, now=at)
    await channel.close()


@pytest.mark.parametrize(("status", "kind"), [(503, Transient), (500, Transient), (429, Transient), (404, Refused), (301, Refused)])
async def test_what_the_receiver_answers_is_told_without_the_url(
    scene: Scene, receiver: Receiver, status: int, kind: type[AdapterError]
) -> None:
    channel = webhook(receiver.url, scene)
    receiver.statuses = [status]
    with pytest.raises(kind, match=f"webhook answered {status}") as caught:
        await channel.send(["x"], delivery="d")
    assert "S3CRET" not in repr(caught.value) + str(caught.value.__cause__)
    await channel.send(["x"], delivery="d")
    await channel.close()


async def test_a_receiver_that_is_away_or_silent_is_transient_and_no_secret_is_logged(
    scene: Scene, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    channel = webhook(receiver.url, scene, timeout=0.2)
    await channel.send(["x"], delivery="d")
    receiver.silent.set()
    with pytest.raises(Transient, match="ReadTimeout"):
        await channel.send(["x"], delivery="d")
    away = webhook("http://127.0.0.1:1/T0P-S3CRET", scene)
    with pytest.raises(Transient, match="ConnectError"):
        await away.send(["x"], delivery="d")
    for wrong in ("ftp://x/T0P-S3CRET", "T0P-S3CRET"):
        with pytest.raises(Refused, match="must begin with https") as caught:
            await webhook(wrong, scene).send(["x"], delivery="d")
        assert "S3CRET" not in str(caught.value)
    assert "S3CRET" not in caplog.text
    await channel.close()
    await away.close()


async def test_a_channel_that_is_down_delays_no_other_and_loses_nothing(scene: Scene) -> None:
    up, down = Fake("up"), Fake("down")
    down.error = Transient("it is away")
    stage = Notify(scene.database, [up, down])
    events = [asked(scene, reason=f"number {number}") for number in range(5)]
    for event in events:
        with pytest.raises(Retry, match="down: it is away"):
            await scene.handle(stage, event)
    assert [delivery for delivery, _ in up.messages] == [event.id for event in events]
    assert down.tries == 1
    down.error = None
    scene.later(2)
    for event in events:
        assert await scene.handle(stage, event) == []
    assert [delivery for delivery, _ in down.messages] == [event.id for event in events]
    assert len(up.messages) == 5


async def test_a_slow_channel_is_cut_off_and_the_others_have_their_message_by_then(scene: Scene, receiver: Receiver) -> None:
    receiver.silent.set()
    up, slow = Fake("up"), webhook(receiver.url, scene, timeout=30)
    stage = Notify(scene.database, [slow, up], NotifyOptions(timeout=0.2))
    with pytest.raises(Retry, match=r"webhook: no answer in 0\.2 s"):
        await scene.handle(stage, asked(scene))
    assert len(up.messages) == 1
    await slow.close()


async def test_the_wait_for_a_channel_doubles_up_to_its_limit_and_begins_again_after_a_success(scene: Scene) -> None:
    channel = Fake("down")
    channel.error = Refused("404")
    stage = Notify(scene.database, [channel], NotifyOptions(first_wait=2, longest_wait=10))
    waits = []
    for number in range(6):
        if number == 5:
            channel.error = None
            await scene.handle(stage, asked(scene))
            channel.error = Transient("away")
        with pytest.raises(Retry) as caught:
            await scene.handle(stage, asked(scene))
        waits.append(caught.value.after)
        scene.later(caught.value.after)
    assert waits == [2, 4, 8, 10, 10, 2]


async def test_messages_that_fail_together_count_as_one_failure(scene: Scene) -> None:
    channel = Fake("down")
    channel.error = Transient("away")
    stage = Notify(scene.database, [channel])
    outcomes = await asyncio.gather(*(scene.handle(stage, asked(scene)) for _ in range(8)), return_exceptions=True)
    assert {outcome.after for outcome in outcomes if isinstance(outcome, Retry)} == {2.0}
    assert len(outcomes) == 8


async def test_after_days_it_becomes_a_dead_letter_that_names_the_channel(scene: Scene) -> None:
    channel = Fake("down")
    channel.error = Transient("it is away")
    event = asked(scene)
    scene.later(3 * 86_400 + 1)
    with pytest.raises(Reject, match="down: it is away"):
        await scene.handle(Notify(scene.database, [channel]), event)


async def test_people_are_told_while_the_store_is_away(scene: Scene) -> None:
    up, down = Fake("up"), Fake("down")
    down.error = Transient("away")
    stage = Notify(scene.database, [up, down])
    event = asked(scene)
    await scene.database.close()
    with pytest.raises(Retry):
        await scene.handle(stage, event, backed=False)
    down.error = None
    scene.later(10)
    assert await scene.handle(stage, event, backed=False) == []
    assert (len(up.messages), len(down.messages)) == (1, 1)


async def test_without_channels_nothing_is_wanted(scene: Scene) -> None:
    assert await scene.handle(Notify(scene.database, []), asked(scene)) == []


async def test_the_log_is_a_channel(scene: Scene) -> None:
    with capture_logs() as logs:
        await scene.handle(Notify(scene.database, [LogChannel()]), asked(scene))
    first, *rest = logs[0]["event"].splitlines()
    assert first == "P2 PEOPLE NEEDED: it broke"
    assert rest
    assert all(line.startswith("    ") for line in rest), "one entry, readable on a terminal"


async def test_a_request_tells_why_what_it_touches_and_how_to_answer(scene: Scene) -> None:
    channel = Fake("up")
    gate = Gate(scene.database, GateOptions(), KEYS)
    requested = (await scene.handle(gate, scene.proposal(await scene.incident())))[0]
    assert isinstance(requested, ApprovalRequested)
    await scene.handle(Notify(scene.database, [channel]), requested)
    text = "\n".join(channel.messages[0][1])
    assert "APPROVAL WANTED: restart deployment shop/api" in text
    assert f"mend approvals sign {requested.approval}" in text
    assert "risk low, 1 signature (assist), until 2026-01-01 13:00 UTC" in text
    assert "why: its pods crash" in text
    assert "blast radius 5 of 100 (auto): 0 pods, services checkout" in text
    assert f"mend incidents show {requested.incident}" in text


def events(scene: Scene) -> dict[str, Event]:
    """One of each event that people are told, by the words that its message begins with."""
    header = scene.header("i")
    done = scene.finished(incident="i")
    look = scene.finished(incident="i", action=Investigate(target=TARGET), output="3 pods")
    vote: dict[str, Any] = {"approval": "a", "action": RESTART}
    found: dict[str, Event] = {
        "P1 OPENED: api is down": IncidentOpened(
            **header, target=TARGET, severity=Severity.P1, title="api is down", alert="Down", anomaly="a", recurrence=3
        ),
        "RESOLVED after 90 s, after an automatic action": IncidentResolved(
            **header, target=TARGET, disposition=Disposition.AUTO_REPAIRED, seconds=90.0
        ),
        "SIGNED by ann, 1 missing": ApprovalSigned(**header, approval="a", person="ann", missing=1),
        "APPROVED signed by ann, bob: restart": ActionApproved(
            **header, **vote, action_hash="h", risk=Risk.HIGH, automatic=False, signers=("ann", "bob")
        ),
        "APPROVED by itself (risk): restart": ActionApproved(**header, **vote, action_hash="h", risk=Risk.LOW, automatic=True, rule="risk"),
        "REJECTED by eve: restart": ActionRejected(**header, **vote, person="eve", comment="no"),
        "EXPIRED without enough signatures": ApprovalExpired(**header, **vote),
        "WITHDRAWN, the incident is resolved: restart": ApprovalWithdrawn(**header, **vote, reason="the incident is resolved"),
        "HELD (blocked), not run: restart": ActionHeld(
            **header, proposal="p", action=RESTART, rule="blocked", reason="too large", mode=Mode.AUTO
        ),
        "DONE, NOT YET VERIFIED: restart": done,
        "FAILED: restart": scene.finished(incident="i", outcome=Outcome.FAILED, error="forbidden"),
        "UNKNOWN WHETHER IT HAPPENED: restart": scene.finished(incident="i", outcome=Outcome.UNKNOWN),
        "LOOKED AT, nothing was changed": look,
        "HEALED: restart": scene.verified(done),
        "NOT HEALED (failed): restart": scene.verified(done, Verdict.FAILED),
        "NOT HEALED (degraded): restart": scene.verified(done, Verdict.DEGRADED),
        "NOT KNOWN WHETHER IT HEALED (timeout)": scene.verified(done, Verdict.TIMEOUT),
        "NOT KNOWN WHETHER IT HEALED (nothing could be measured)": scene.verified(done, Verdict.DEGRADED, measured=False),
        "NOT KNOWN WHETHER IT HEALED (degraded)": scene.verified(done, Verdict.DEGRADED, ground=Ground.NOTHING_BEFORE),
        "NOT HEALED (it came back)": scene.verified(done, Verdict.FAILED, relapse=True, ground=Ground.RELAPSED),
        "HEALTHY NOW (whether by this is not known)": scene.verified(done, outcome=Outcome.UNKNOWN),
        "DEAD LETTER: verify could not handle SignalReceived": DeadLettered(
            **header,
            source_topic="signals",
            group="verify",
            entry="1-1",
            reason=DeadReason.REJECTED,
            error="e",
            attempts=1,
            original=b"",
            original_type="SignalReceived",
        ),
    }
    return found


async def test_of_dead_letters_people_hear_by_a_question_and_of_those_of_the_asker_once_in_a_while(scene: Scene) -> None:
    letter = next(event for event in events(scene).values() if isinstance(event, DeadLettered))
    channel = Fake("up")
    notify = Notify(scene.database, [channel])
    assert await scene.handle(notify, letter) == []
    assert channel.messages == [], "failure_watch asks about it"
    for number in range(20):
        await scene.handle(notify, msgspec.structs.replace(letter, id=new_id(scene.now), group="failure_watch", entry=f"2-{number}"))
    assert len(channel.messages) == 1
    scene.now += timedelta(minutes=10)
    await scene.handle(notify, msgspec.structs.replace(letter, id=new_id(scene.now), group="failure_watch", entry="3-1"))
    assert len(channel.messages) == 2


def test_every_event_in_the_words_of_people(scene: Scene) -> None:
    for beginning, event in events(scene).items():
        lines = lines_of(event)
        assert lines[0].startswith(beginning), lines
        assert lines[-1].startswith("incident i: ")


def test_only_a_verified_success_is_called_healed(scene: Scene) -> None:
    healed = [beginning for beginning, event in events(scene).items() if any(line.startswith("HEALED") for line in lines_of(event))]
    assert healed == ["HEALED: restart"]


def test_news_that_ask_nothing_of_people_are_not_sent(scene: Scene) -> None:
    header = scene.header("i")
    quiet: list[Event] = [
        IncidentUpdated(**header, target=TARGET, severity=Severity.P1, alert="a", status=SignalStatus.FIRING, firing=2),
        VoteRefused(**header, approval="a", person="p", reason="r"),
        TrustChanged(**header, pattern="p", before=0, after=1, reason="r"),
        ActionApproved(**header, approval="a", action=Investigate(target=TARGET), action_hash="h", risk=Risk.LOW, automatic=True),
        scene.verified(scene.finished(action=Investigate(target=TARGET)), Verdict.DEGRADED),
    ]
    assert [lines_of(event) for event in quiet] == [[]] * len(quiet)


def test_hostile_text_reaches_nobody(scene: Scene) -> None:
    text = "\x1b]0;owned\x07 token=abc123secret\nP0 OPENED: forged line " + "y" * 9000
    lines = lines_of(asked(scene, reason=text, question=text))
    assert len(lines) == 3
    assert all("\x1b" not in line and "\n" not in line and "abc123secret" not in line and len(line) <= 600 for line in lines)


async def test_what_no_stage_told_is_told_to_nobody(scene: Scene, receiver: Receiver) -> None:
    """Who can write to Redis could otherwise say that a thing is healed, or ask people to do something."""
    notify = Notify(scene.database, [webhook(receiver.url, scene)])
    healed = scene.verified(scene.finished(), Verdict.SUCCESS)
    for forged in (healed, asked(scene), scene.finished()):
        with pytest.raises(Reject, match="the event is not genuine"):
            await scene.handle(notify, forged, backed=False)
    assert receiver.requests == []
    await scene.handle(notify, healed)
    assert len(receiver.requests) == 1
