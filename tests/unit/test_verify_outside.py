"""What is asked from outside of a target: all at once, and what is late takes nothing from what has come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from adapters.ports import AlertState, Measurement
from schemas.action import RestartWorkload
from schemas.evidence import AlertView, MetricView, Sensor, Snapshot
from schemas.target import Target
from schemas.words import IncidentState, Outcome, Severity, Worse
from sql.incidents import IncidentRow
from stages.verify.judge import Question
from stages.verify.outside import with_outside
from tests.unit.snapshots import NOW, TARGET, pod, snapshot

MEMORY = MetricView(name="memory_ratio", query="q", value=0.3, unit="ratio", worse=Worse.UP)
MEASURED = Measurement(metrics=(MEMORY,), sensors=(Sensor(name="metric:memory_ratio", seconds=0.1),))
LATER = NOW + timedelta(seconds=60)


class Answers:
    """Metrics that know some alerts by name; what is in `late` never answers, and nothing does before `together` are asked."""

    def __init__(self, known: Mapping[str, bool | None], late: tuple[object, ...] = (), *, together: int = 1) -> None:
        self.known = known
        self.late = late
        self.asked: list[str] = []
        self.heard_by: list[Sequence[str]] = []
        self._all = asyncio.Barrier(together)

    async def measure(
        self, target: Target, alerts: Sequence[str], labels: Mapping[str, str], at: datetime, *, usual_until: datetime | None = None
    ) -> Measurement:
        await self._answer(at)
        return MEASURED

    async def alert(
        self, labels: Mapping[str, str], *, cluster: str = "", target: Target | None = None, heard_by: Sequence[str] = ()
    ) -> AlertState:
        raise AssertionError("only whether it holds is asked")

    async def holds(self, query: str, *, cluster: str, at: datetime) -> bool | None:
        raise AssertionError("no playbook asks here")

    async def firing(
        self, labels: Mapping[str, str], *, cluster: str = "", target: Target | None = None, heard_by: Sequence[str] = ()
    ) -> bool | None:
        assert (cluster, target) == ("prod", TARGET)
        self.asked.append(labels["alertname"])
        self.heard_by.append(heard_by)
        await self._answer(labels["alertname"])
        return self.known.get(labels["alertname"])

    async def _answer(self, name: object) -> None:
        if name in self.late:
            await asyncio.Event().wait()
        await self._all.wait()

    async def close(self) -> None: ...


def incident(*alerts: str, labelled: int = 10) -> IncidentRow:
    plain: dict[str, Any] = {"id": "i", "key": TARGET.key, "title": "t", "opened_at": NOW, "resolved_at": None, "firing": 1}
    labels = tuple({"alertname": alert} for alert in alerts)
    return IncidentRow(
        **plain,
        state=IncidentState.MITIGATING,
        severity=Severity.P2,
        target=TARGET,
        alerts=alerts,
        labels=labels[0],
        alert_labels=labels[:labelled],
    )


async def asked(metrics: Answers, row: IncidentRow, proposed: Snapshot | None = None) -> Question:
    question = Question(
        action=RestartWorkload(target=TARGET), outcome=Outcome.SUCCEEDED, before=snapshot(pod("a")), after=snapshot(pod("b")), firing=1
    )
    return await with_outside(question, metrics, row, at=LATER, ended_at=NOW, limit=0.05, proposed=proposed)


@pytest.mark.parametrize(
    ("answers", "fires"),
    [
        ({"A": True, "B": False}, True),
        ({"A": False, "B": True}, True),
        ({"A": False, "B": False}, False),
        ({"A": False, "B": None}, None),
        ({"A": None, "B": True}, True),
    ],
)
async def test_an_incident_is_cleared_when_all_of_its_alerts_are_gone(answers: dict[str, bool | None], fires: bool | None) -> None:
    metrics = Answers(answers, together=4)
    found = await asked(metrics, incident("A", "B"))
    assert (found.fires, found.asked, metrics.asked) == (fires, 2, ["A", "B"])
    assert set(found.holding) == {name for name, holds in answers.items() if holds}
    assert set(found.gone) == {name for name, holds in answers.items() if holds is False}
    assert found.after.metrics == (MEMORY,), "all four are asked at once, or none had answered"


async def test_alerts_that_nobody_was_asked_about_are_not_known_to_be_gone() -> None:
    names = [f"A{number}" for number in range(11)]
    found = await asked(Answers(dict.fromkeys(names, False)), incident(*names))
    assert (found.fires, found.asked) == (None, 10)
    assert (await asked(Answers(dict.fromkeys(names, True)), incident(*names))).fires is True
    old = incident("A", labelled=0)
    assert (await asked(Answers({"A": False}), old)).fires is False, "the labels of the incident serve where none are kept of its alerts"


@pytest.mark.parametrize("late", [(NOW,), (LATER,), (NOW, LATER)])
async def test_metrics_that_are_late_take_nothing_from_the_answer_about_the_alert(late: tuple[datetime, ...]) -> None:
    found = await asked(Answers({"A": True}, late), incident("A"))
    assert (found.fires, found.asked, found.elapsed) == (True, 1, 60.0)
    assert found.before is not None
    for at, seen in ((NOW, found.before), (LATER, found.after)):
        assert seen.metrics == (() if at in late else (MEMORY,))
        assert any("no answer within 0.05 s" in sensor.error for sensor in seen.sensors) is (at in late)


async def test_an_alert_that_is_late_takes_nothing_from_the_metrics_and_the_others() -> None:
    found = await asked(Answers({"A": True, "B": False}, ("A",)), incident("A", "B"))
    assert (found.fires, found.after.metrics) == (None, (MEMORY,))
    assert (await asked(Answers({"B": True}, ("A",)), incident("A", "B"))).fires is True


async def test_who_had_an_alert_when_the_action_was_proposed_is_known_to_who_asks_about_it_again() -> None:
    """An alert that joined later was seen by nobody."""
    views = (AlertView(name="B", fires=True, heard=True, heard_by=("run 1", "run 2")), AlertView(name="C"))
    proposed = msgspec.structs.replace(snapshot(pod("a")), alerts=views)
    metrics = Answers({})
    await asked(metrics, incident("A", "B", "C"), proposed)
    assert dict(zip(metrics.asked, metrics.heard_by, strict=True)) == {"A": (), "B": ("run 1", "run 2"), "C": ()}
