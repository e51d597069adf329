"""No secret leaves by any way out, and what is none stays readable: the corpus of tests/data/secrets.txt, through each way."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec
import pytest
import structlog

from adapters.kubernetes.objects import Event, Workload
from adapters.kubernetes.sensors import Sensors
from adapters.kubernetes.trees import difference
from adapters.kubernetes.views import event_view, workload_view
from adapters.ssh.completed import Completed
from adapters.ssh.probes import journal
from adapters.ssh.remote import Remote
from bus.letters import Letters
from bus.transport import Delivery
from ops.facts.cleaning import cleaned
from ops.logging import configure_logging
from ops.settings.model import LogFormat, LogSettings
from schemas.codec import decode
from schemas.events import DeadLettered, PeopleAsked
from schemas.evidence import EventView
from schemas.identity import new_id
from schemas.target import Kind
from schemas.text import clean, clean_labels
from schemas.words import DeadReason
from sql.evidence import sanitized
from stages.notify.text import lines_of
from tests.unit.snapshots import NOW, TARGET, snapshot

_PIECE = 8  # characters of a secret that may not be seen in a row


class Sample(NamedTuple):
    where: str
    text: str
    secrets: tuple[str, ...]


def _read() -> list[Sample]:
    text = (Path(__file__).parents[1] / "data" / "secrets.txt").read_text(encoding="utf-8").replace("‖", "")
    found: list[Sample] = []
    for entry in text.split("\n%% ")[1:]:
        where, _, body = entry.partition("\n")
        body = body.removesuffix("\n")
        found.append(Sample(where, re.sub("[⟦⟧]", "", body), tuple(re.findall("⟦(.*?)⟧", body))))
    return found


SAMPLES = _read()
SECRETS = [sample for sample in SAMPLES if sample.where.startswith("secret: ")]
INNOCENTS = [sample for sample in SAMPLES if sample.where.startswith("innocent: ")]


def _log_sensor(text: str) -> str:
    async def log(*_: Any, **__: Any) -> bytes:
        return text.encode()

    return asyncio.run(Sensors(cast("Any", SimpleNamespace(target=TARGET, log=log)))._log("api-1", "web", previous=False))


def _journal(text: str) -> str:
    async def read(*_: str) -> Completed:
        return Completed(exit=0, out=text)

    return asyncio.run(journal(cast("Remote", SimpleNamespace(read=read)))).logs["journal"]


def _event(text: str) -> str:
    body = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "api-1"}, "message": text}
    return event_view(msgspec.convert(body, Event)).message


def _annotation(text: str) -> str:
    body = {"metadata": {"name": "api", "annotations": {"team/note": text}}, "spec": {"template": {}}}
    return workload_view(msgspec.convert(body, Workload), Kind.DEPLOYMENT).annotations["team/note"]


def _difference(text: str) -> str:
    return difference({}, {"note": text, "args": ["serve", text]})


def _notification(text: str) -> str:
    asked = PeopleAsked(id=new_id(NOW), key="k", at=NOW, by="test", subject="s", reason=text, question=text)
    return "\n".join(lines_of(asked, [text]))


def _dead_letter(text: str) -> str:
    emit = Letters("gate", "gate/test", lambda: NOW).write(Delivery(0, "signals", b"1-0", b"{}"), DeadReason.CRASHED, text, text)
    assert emit is not None
    letter = decode(emit.body)
    assert isinstance(letter, DeadLettered)
    return f"{letter.error}\n{letter.traceback}"


def _stored(text: str) -> str:
    seen = snapshot(logs={"api-1/web": text}, events=(EventView(reason="r", message=text, about="pod/api"),), annotations={"note": text})
    kept = sanitized(seen)
    assert kept.workload is not None
    return "\n".join([kept.logs["api-1/web"], kept.events[0].message, kept.workload.annotations["note"]])


class _Spoken:
    """structlog as a process of ours sets it up, writing JSON into memory."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        configure_logging(LogSettings(format=LogFormat.JSON), stream=self._stream)

    def say(self, text: str) -> str:
        self._stream.seek(0)
        self._stream.truncate()
        structlog.get_logger("corpus").warning("said", text=text, inner={"texts": [text]})
        logging.getLogger("library").warning("%s", text)
        own, foreign = (json.loads(line) for line in self._stream.getvalue().splitlines())
        return f"{own['text']}\n{own['inner']['texts'][0]}\n{foreign['event']}"


@pytest.fixture(scope="module")
def spoken() -> Iterator[_Spoken]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield _Spoken()
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


WAYS: dict[str, Callable[[str], str]] = {
    "clean": clean,
    "log sensor": _log_sensor,
    "journal": _journal,
    "event message": _event,
    "annotation": _annotation,
    "label": lambda text: clean_labels({"note": text})["note"],
    "difference": _difference,
    "notification": _notification,
    "dead letter": _dead_letter,
    "stored evidence": _stored,
    "command line": lambda text: str(cleaned({"rows": [text]})["rows"][0]),
}


@pytest.fixture(params=[*WAYS, "structlog"])
def way(request: pytest.FixtureRequest) -> Callable[[str], str]:
    if request.param == "structlog":
        return cast("_Spoken", request.getfixturevalue("spoken")).say
    return WAYS[request.param]


def seen_of(secret: str, shown: str) -> str:
    """The first piece of a secret that is in a text, or nothing."""
    size = min(_PIECE, len(secret))
    return next((secret[at : at + size] for at in range(len(secret) - size + 1) if secret[at : at + size] in shown), "")


def test_the_corpus_is_large_enough() -> None:
    assert len(SECRETS) >= 80
    assert len(INNOCENTS) >= 40
    assert all(sample.secrets for sample in SECRETS)
    assert not any(sample.secrets for sample in INNOCENTS)


def test_no_secret_is_shown(way: Callable[[str], str]) -> None:
    shown = {sample: way(sample.text) for sample in SECRETS}
    leaks = [(sample.where, piece, text) for sample, text in shown.items() for secret in sample.secrets if (piece := seen_of(secret, text))]
    assert leaks == []


def test_what_is_no_secret_is_shown(way: Callable[[str], str]) -> None:
    def joined(text: str) -> str:
        return " ".join(text.split())

    hidden = [(sample.where, sample.text, text) for sample in INNOCENTS if joined(sample.text) not in joined(text := way(sample.text))]
    assert hidden == []


def test_what_is_clean_stays_as_it_is() -> None:
    changed = [(text, clean(text)) for sample in SAMPLES if clean(text := clean(sample.text)) != text]
    assert changed == []
