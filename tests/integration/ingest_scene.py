"""One ingest stage on one database, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bus.handler import Context
from schemas.event import Delayed, Event, Output
from schemas.events import IncidentOpened, IncidentResolved, IncidentUpdated, SignalReceived
from schemas.identity import new_id
from schemas.target import Kind, Target
from schemas.words import SignalStatus
from sql import incidents
from sql.database import Database
from stages.ingest.stage import Ingest

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
API = {"alertname": "KubeDeploymentReplicasMismatch", "namespace": "shop", "deployment": "api", "severity": "warning"}
API_TARGET = Target(cluster="default", kind=Kind.DEPLOYMENT, namespace="shop", name="api")


class Scene:
    """One ingest stage on one database, with a clock that tests move."""

    def __init__(self, database: Database, stage: Ingest | None = None) -> None:
        self.database = database
        self.stage = stage or Ingest(database)
        self.now = START

    async def hear(self, event: Event) -> list[Output]:
        context = Context(stage="ingest", by="ingest/test", clock=lambda: self.now, input=event)
        return list(await self.stage.handle(event, context))

    async def fire(self, fingerprint: str = "f1", since: int = 0, labels: dict[str, str] | None = None) -> list[Output]:
        return await self.hear(self.signal(fingerprint, since, labels=labels))

    async def end(self, fingerprint: str = "f1", since: int = 0, until: int = 600, labels: dict[str, str] | None = None) -> list[Output]:
        return await self.hear(self.signal(fingerprint, since, until=until, labels=labels))

    def signal(
        self, fingerprint: str = "f1", since: int = 0, *, until: int | None = None, labels: dict[str, str] | None = None
    ) -> SignalReceived:
        """A signal from `since`, resolved at `until`, both in seconds after START; it is heard no earlier than it happened."""
        self.now = max(self.now, START + timedelta(seconds=until or since))
        return SignalReceived(
            id=new_id(self.now),
            key="k",
            at=self.now,
            by="api/test",
            fingerprint=fingerprint,
            status=SignalStatus.FIRING if until is None else SignalStatus.RESOLVED,
            starts_at=START + timedelta(seconds=since),
            ends_at=None if until is None else START + timedelta(seconds=until),
            labels=labels or API,
            annotations={"summary": "replicas are missing"},
            source="alertmanager",
        )

    async def row(self, incident: str) -> incidents.IncidentRow:
        async with self.database.connection() as connection:
            row = await incidents.get_incident(connection, incident)
        assert row is not None
        return row

    async def everything(self) -> list[incidents.IncidentRow]:
        async with self.database.connection() as connection:
            return await incidents.list_incidents(connection)

    async def lines(self, incident: str) -> list[str]:
        async with self.database.connection() as connection:
            return [row.what for row in await incidents.timeline(connection, incident)]


def opened(outputs: Sequence[Output]) -> IncidentOpened:
    assert len(outputs) == 1
    assert isinstance(outputs[0], IncidentOpened)
    return outputs[0]


def updated(outputs: Sequence[Output]) -> IncidentUpdated:
    assert len(outputs) == 1
    assert isinstance(outputs[0], IncidentUpdated)
    return outputs[0]


def resolved(outputs: Sequence[Output]) -> tuple[IncidentResolved, Delayed]:
    assert len(outputs) == 2
    assert isinstance(outputs[0], IncidentResolved)
    assert isinstance(outputs[1], Delayed)
    return outputs[0], outputs[1]
