"""The look before deciding: the target, its metrics and its alert at once, each bounded apart; and what is said where the alert is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
import pytest

from adapters.errors import Transient
from adapters.ports import AlertState, Measurement, Metrics, World
from schemas.evidence import AlertView, MetricView, Sensor, Snapshot
from schemas.target import Kind, Target
from schemas.words import IncidentState, Severity, Worse
from sql.incidents import IncidentRow
from stages.propose.case import Case
from stages.propose.outside import gone, look
from tests.unit.snapshots import HOST, NOW, TARGET, host, pod, snapshot, unit

LABELS = {"alertname": "PodDown", "namespace": "shop"}
INCIDENT = IncidentRow(
    id="i",
    key=TARGET.key,
    state=IncidentState.INVESTIGATING,
    severity=Severity.P2,
    target=TARGET,
    title="",
    alerts=("PodDown",),
    labels=LABELS,
    opened_at=NOW,
    resolved_at=None,
    firing=1,
)
MEASURED = Measurement(
    metrics=(MetricView(name="up", query="up", value=1.0, unit="1", worse=Worse.DOWN),), sensors=(Sensor(name="metric:up", seconds=0.1),)
)
TOLD = AlertState(alerts=(AlertView(name="PodDown", fires=True),), sensors=(Sensor(name="alert:prometheus", seconds=0.1),))


class Outside:
    """Metrics that answer at once, but for what is to hang."""

    def __init__(self, *hangs: str) -> None:
        self._hangs = hangs
        self.asked: list[Any] = []
        self.began = asyncio.Event()

    async def _wait(self, name: str) -> None:
        self.began.set()
        if name in self._hangs:
            await asyncio.Event().wait()

    async def measure(
        self, target: Target, alerts: Sequence[str], labels: Mapping[str, str], at: datetime, *, usual_until: datetime | None = None
    ) -> Measurement:
        self.asked.append((target, tuple(alerts), labels, at, usual_until))
        await self._wait("measure")
        return MEASURED

    async def alert(
        self, labels: Mapping[str, str], *, cluster: str = "", target: Target | None = None, heard_by: Sequence[str] = ()
    ) -> AlertState:
        self.asked.append((labels, cluster))
        await self._wait("alert")
        return TOLD

    async def firing(
        self, labels: Mapping[str, str], *, cluster: str = "", target: Target | None = None, heard_by: Sequence[str] = ()
    ) -> bool | None:
        raise AssertionError("the look before deciding wants each answer, not their sum")

    async def holds(self, query: str, *, cluster: str, at: datetime) -> bool | None:
        raise AssertionError("only after an action a playbook asks")

    async def close(self) -> None: ...


class Seen:
    """A world that shows one snapshot, or raises."""

    def __init__(self, found: Snapshot | Exception, *, after: asyncio.Event | None = None) -> None:
        self._found = found
        self._after = after

    async def observe(self, target: Target, **_: Any) -> Snapshot:
        if self._after is not None:
            await self._after.wait()
        if isinstance(self._found, Exception):
            raise self._found
        return self._found

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not for a look")


async def seen(world: Any, metrics: Metrics | None, *, within: float = 30.0, incident: IncidentRow = INCIDENT) -> Snapshot:
    as_world: World = world
    until = asyncio.get_running_loop().time() + within
    return await look(as_world, metrics, incident, TARGET, at=NOW, until=until)


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() == before


def errors(found: Snapshot) -> dict[str, str]:
    return {sensor.name: sensor.error for sensor in found.sensors}


async def test_the_target_its_metrics_and_its_alert_are_looked_at_at_the_same_time() -> None:
    outside = Outside()
    async with no_task_left():
        found = await seen(Seen(snapshot(pod("a")), after=outside.began), outside)
    assert len(outside.asked) == 2
    assert (TARGET, ("PodDown",), LABELS, NOW, None) in outside.asked
    assert (LABELS, "prod") in outside.asked
    assert (found.metrics, found.alerts) == (MEASURED.metrics, TOLD.alerts)
    assert errors(found) == {"workload": "", "pods": "", "metric:up": "", "alert:prometheus": ""}


async def test_every_alert_of_the_incident_is_asked_about() -> None:
    outside = Outside()
    slow = {"alertname": "Slow", "namespace": "shop"}
    both = msgspec.structs.replace(INCIDENT, alerts=("PodDown", "Slow"), alert_labels=(LABELS, slow))
    found = await seen(Seen(snapshot(pod("a"))), outside, incident=both)
    assert [one for one in outside.asked if len(one) == 2] == [(LABELS, "prod"), (slow, "prod")]
    assert len(found.alerts) == 2
    assert {"alert:prometheus (alert 1)", "alert:prometheus (alert 2)"} < set(errors(found))


async def test_where_nobody_is_to_be_asked_the_target_is_all_that_is_looked_at() -> None:
    plain = snapshot(pod("a"))
    assert await seen(Seen(plain), None) is plain


@pytest.mark.parametrize(
    ("hangs", "missing", "metrics", "alerts"),
    [
        (("measure",), {"metric:all"}, (), TOLD.alerts),
        (("alert",), {"alert:all"}, MEASURED.metrics, ()),
        (("measure", "alert"), {"metric:all", "alert:all"}, (), ()),
    ],
)
async def test_what_hangs_is_missing_and_takes_nothing_else_with_it(
    hangs: tuple[str, ...], missing: set[str], metrics: Any, alerts: Any
) -> None:
    async with no_task_left():
        found = await seen(Seen(snapshot(pod("a"))), Outside(*hangs), within=0.5)
    assert {name for name, error in errors(found).items() if error} == missing
    assert all("no answer before the look had to end" in errors(found)[name] for name in missing)
    assert all(sensor.seconds >= 0.04 for sensor in found.sensors if sensor.name in missing)
    assert (found.metrics, found.alerts) == (metrics, alerts)
    assert found.measured


@pytest.mark.parametrize("found", [Transient("the cluster is away"), msgspec.structs.replace(snapshot(), exists=False)])
async def test_a_target_that_cannot_be_seen_is_not_waited_for_from_outside(found: Snapshot | Exception) -> None:
    outside = Outside("measure", "alert")
    async with no_task_left(), asyncio.timeout(5):
        if isinstance(found, Exception):
            with pytest.raises(Transient, match="the cluster is away"):
                await seen(Seen(found), outside)
        else:
            assert await seen(Seen(found), outside) is found


async def test_a_target_that_hangs_is_a_timeout_whatever_else_was_said() -> None:
    async with no_task_left():
        with pytest.raises(TimeoutError):
            await seen(Seen(snapshot(pod("a")), after=asyncio.Event()), Outside(), within=0.05)


def test_what_is_said_from_outside_does_not_count_as_the_target_being_measured() -> None:
    unseen = Snapshot(target=TARGET, at=NOW, sensors=(Sensor(name="workload", seconds=8.0, error="timeout"),))
    assert not TOLD.added_to(MEASURED.added_to(unseen)).measured


WELL, SICK = snapshot(pod("a"), pod("b")), snapshot(pod("a"), pod("b", "crash"))
PODS_UNSEEN = snapshot(
    desired=2, ready=2, available=2, sensors=(Sensor(name="workload", seconds=0.1), Sensor(name="pods", seconds=8, error="t"))
)
NODE = Target(cluster="prod", kind=Kind.NODE, name="n1")
GONE = AlertView(name="PodDown", rule=False, heard=False, fires=False)


def case(found: Snapshot, *views: AlertView, **labels: str) -> Case:
    found = msgspec.structs.replace(found, alerts=views)
    severity = Severity.P2
    return Case(
        incident="i", target=found.target, severity=severity, alerts=("PodDown",), labels=LABELS | labels, opened_at=NOW, snapshot=found
    )


@pytest.mark.parametrize(
    ("views", "who"),
    [
        ((GONE,), "its rule in Prometheus does not hold, Alertmanager does not have it"),
        ((msgspec.structs.replace(GONE, rule=None),), "Alertmanager does not have it"),
        ((msgspec.structs.replace(GONE, heard=None),), "its rule in Prometheus does not hold"),
    ],
)
def test_an_alert_that_is_gone_from_a_target_that_is_well_is_said_with_who_says_so(views: tuple[AlertView, ...], who: str) -> None:
    said = gone(case(WELL, *views), firing=1)
    assert said == f"PodDown does not fire now ({who}), and deployment shop/api is well: 2 of 2 pods available."
    assert gone(case(WELL, *views), firing=2) == f"{said} Its other alerts were not asked about."


@pytest.mark.parametrize(
    "asked",
    [
        case(WELL),
        case(SICK, GONE),
        case(PODS_UNSEEN, GONE),
        case(WELL, msgspec.structs.replace(GONE, fires=True, rule=True)),
        case(WELL, msgspec.structs.replace(GONE, fires=None, rule=None)),
        case(WELL, AlertView(name="PodDown", note="Alertmanager does not have it, but was not seen to have had it")),
        case(WELL, GONE, AlertView(name="Slow", fires=True)),
        case(host(unit("nginx.service", "failed")), GONE, unit="nginx.service"),
        case(host(unit("nginx.service", "active")), GONE, unit="other.service"),
        case(host(), GONE),
        case(Snapshot(target=NODE, at=NOW, sensors=(), exists=True, node_ready=False), GONE),
        case(Snapshot(target=NODE, at=NOW, sensors=(), exists=True), GONE),
    ],
)
def test_without_both_it_is_not_said(asked: Case) -> None:
    assert gone(asked, firing=1) == ""


def test_it_is_said_of_hosts_nodes_and_pods_as_well() -> None:
    assert "host web-1 is well: active" in gone(case(host(unit("nginx.service", "active")), GONE, unit="nginx"), firing=1)
    ready = Snapshot(target=NODE, at=NOW, sensors=(), exists=True, node_ready=True)
    assert "is well: ready" in gone(case(ready, GONE), firing=1)
    a_pod = Target(cluster="prod", namespace="shop", kind=Kind.POD, name="a")
    assert "is well: ready" in gone(case(Snapshot(target=a_pod, at=NOW, sensors=(), exists=True, pods=(pod("a"),)), GONE), firing=1)
    assert HOST.kind is Kind.HOST
