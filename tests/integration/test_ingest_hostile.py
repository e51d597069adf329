"""Signals that mean harm are refused, or kept in a form that does none."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from bus.handler import Reject
from schemas.events import IncidentCloseDue
from schemas.identity import new_id
from schemas.target import Kind
from sql.database import Database
from tests.integration.ingest_scene import API, Scene, opened


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def test_what_is_kept_of_labels_is_cleaned(scene: Scene) -> None:
    hostile = API | {"alertname": "Down\x00\x1b[31m", "note": "a\x00b", "x\x00y": "password=hunter22"}
    row = await scene.row(opened(await scene.fire(labels=hostile)).incident)
    assert row.alerts == ("Down[31m",)
    assert (row.labels["note"], row.labels["xy"]) == ("ab", "password=***")


async def test_a_name_that_nothing_can_have_makes_the_target_unknown(scene: Scene) -> None:
    event = opened(await scene.fire(labels=API | {"deployment": "api; rm -rf /\x00"}))
    assert (event.target.kind, event.target.name) == (Kind.UNKNOWN, "api; rm -rf /")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"fingerprint": ""}, "fingerprint"),
        ({"fingerprint": "a\x00b"}, "fingerprint"),
        ({"fingerprint": "f" * 129}, "fingerprint"),
        ({"id": "nobody"}, "id"),
        ({"id": "ffffffff-ffff-7000-8000-000000000000"}, "id"),
        ({"labels": {"big": "x" * 10_000_000}}, "label"),
        ({"labels": {f"l{number}": "" for number in range(129)}}, "labels"),
        ({"labels": {"": "x"}}, "label"),
        ({"annotations": {"big": "x" * 1_000_000}}, "annotations"),
        ({"starts_at": datetime(1, 1, 1, tzinfo=UTC)}, "startsAt"),
        ({"starts_at": datetime(9999, 12, 31, 23, tzinfo=UTC)}, "startsAt"),
        ({"starts_at": datetime(2026, 1, 1)}, "startsAt"),  # noqa: DTZ001
        ({"ends_at": datetime(1999, 1, 1, tzinfo=UTC)}, "endsAt"),
        ({"at": datetime(2026, 1, 1)}, "at"),  # noqa: DTZ001
        ({"key": "k" * 5000}, "key"),
    ],
)
async def test_a_hostile_signal_is_refused_with_a_sentence(scene: Scene, change: dict[str, object], word: str) -> None:
    signal = msgspec.structs.replace(scene.signal(), **change)
    with pytest.raises(Reject, match=word) as refusal:
        await scene.hear(signal)
    assert len(refusal.value.reason) < 300
    assert await scene.everything() == []


async def test_texts_that_identify_nothing_may_be_hostile(scene: Scene) -> None:
    signal = msgspec.structs.replace(scene.signal(), source="a\x00b", by="c\x00", cause="d\x00", key="e\x00", incident="f\x00")
    opened(await scene.hear(signal))


async def test_a_forged_timer_is_refused(scene: Scene) -> None:
    with pytest.raises(Reject):
        await scene.hear(IncidentCloseDue(id=new_id(scene.now), incident="a\x00b", key="k", at=scene.now, by="t"))
