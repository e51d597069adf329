"""What every stage may ask of the incidents, and what each may write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from schemas.identity import new_id
from schemas.target import Kind, Target
from schemas.words import Disposition, IncidentState, Severity
from sql import incidents, signals
from sql.database import Database

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def opened(database: Database, name: str = "api", at: datetime = NOW) -> str:
    target = Target(cluster="c", kind=Kind.DEPLOYMENT, namespace="shop", name=name)
    async with database.transaction() as connection:
        joined = await signals.join_or_open(
            connection,
            id=new_id(NOW),
            target=target,
            severity=Severity.P1,
            title=f"{name} is down",
            labels={"team": "shop"},
            services=["checkout"],
            at=at,
        )
    return joined.id


async def test_an_incident_is_found_by_id_and_by_target(database: Database) -> None:
    incident = await opened(database)
    async with database.connection() as connection:
        row = await incidents.get_incident(connection, incident)
        assert row is not None
        assert await incidents.open_incident_of(connection, row.key) == row
        assert await incidents.get_incident(connection, "none") is None
        assert await incidents.open_incident_of(connection, "c//Node/none") is None
        assert (await incidents.firing_signals(connection, incident), await incidents.firing_signals(connection, "none")) == (1, 0)
    assert (row.target.name, row.severity, row.labels, row.services) == ("api", Severity.P1, {"team": "shop"}, ("checkout",))


async def test_the_labels_of_ten_alerts_are_told_and_the_names_of_more(database: Database) -> None:
    incident = await opened(database)
    async with database.transaction() as connection:
        for number in range(12):
            labels = {"alertname": f"A{number}", "pod": "one"}
            await signals.count_alert(connection, incident, alert=f"A{number}", anomaly=f"A{number} x", labels=labels)
        other = {"alertname": "A0", "pod": "two"}
        again = await signals.count_alert(connection, incident, alert="A0", anomaly="A0 x", labels=other)
    assert again == 0
    async with database.connection() as connection:
        row = await incidents.get_incident(connection, incident)
    assert row is not None
    assert len(row.alerts) == 12
    assert row.alert_labels == tuple({"alertname": f"A{number}", "pod": "one"} for number in range(10))


async def test_the_newest_incidents_come_first(database: Database) -> None:
    first, second = await opened(database, "a"), await opened(database, "b", NOW + timedelta(seconds=1))
    async with database.connection() as connection:
        await incidents.mark_mitigating(connection, first, automatic=True)
        assert [row.id for row in await incidents.list_incidents(connection)] == [second, first]
        assert [row.id for row in await incidents.list_incidents(connection, 1)] == [second]
        assert [row.id for row in await incidents.list_incidents(connection, 9, [IncidentState.MITIGATING])] == [first]
        assert await incidents.list_incidents(connection, 9, [IncidentState.CLOSED]) == []


async def test_a_timeline_keeps_a_line_once_in_the_order_of_its_times(database: Database) -> None:
    incident = await opened(database)
    async with database.connection() as connection:
        for what, seconds in [("second", 2), ("first", 1), ("second", 2), ("third\x00\x1b[2J", 2)]:
            at = NOW + timedelta(seconds=seconds)
            await incidents.add_timeline(connection, incident=incident, event="e", at=at, by="ann", what=what)
        rows = await incidents.timeline(connection, incident)
    assert [(row.what, row.by) for row in rows] == [("first", "ann"), ("second", "ann"), ("third[2J", "ann")]


async def test_of_a_long_timeline_the_beginning_and_the_end_are_told_and_how_much_is_not(database: Database) -> None:
    incident = await opened(database)
    async with database.connection() as connection:
        for number in range(9):
            at = NOW + timedelta(seconds=number)
            await incidents.add_timeline(connection, incident=incident, event="e", at=at, by="ann", what=f"line {number}")
        whole = await incidents.timeline(connection, incident, limit=9)
        rows = await incidents.timeline(connection, incident, limit=5)
        assert await incidents.timeline(connection, "nothing") == []
    assert [row.what for row in whole] == [f"line {number}" for number in range(9)]
    assert [row.what for row in rows] == ["line 0", "line 1", "line 2", "… 4 lines left out …", "line 7", "line 8"]
    assert rows[3].at == rows[2].at


async def test_an_outcome_is_kept_and_a_later_one_adds_to_it(database: Database) -> None:
    incident = await opened(database)
    async with database.connection() as connection:
        await incidents.record_outcome(connection, incident, succeeded=False, effectiveness=2, notes="the rollout was bad")
        await incidents.record_outcome(connection, incident, succeeded=True, effectiveness=None, notes="")
        row = await incidents.get_incident(connection, incident)
    assert row is not None
    assert (row.succeeded, row.effectiveness, row.notes) == (True, 2, "the rollout was bad")


async def test_a_further_attempt_makes_the_outcome_open_again(database: Database) -> None:
    incident = await opened(database)
    async with database.connection() as connection:
        await incidents.record_outcome(connection, incident, succeeded=False, effectiveness=None, notes="it did not help")
        await incidents.mark_mitigating(connection, incident, automatic=True)
        row = await incidents.get_incident(connection, incident)
    assert row is not None
    assert (row.succeeded, row.notes) == (None, "it did not help")


async def test_only_an_open_incident_is_mitigated(database: Database) -> None:
    incident = await opened(database)
    async with database.transaction() as connection:
        left = await signals.leave(connection, incident)
        assert left is not None
        await signals.resolve(connection, incident, disposition=Disposition.SELF_RESOLVED, at=NOW)
        await incidents.mark_mitigating(connection, incident, automatic=True)
        row = await incidents.get_incident(connection, incident)
        assert await signals.leave(connection, incident) is None
    assert row is not None
    assert (row.state, row.executed, row.is_open) == (IncidentState.RESOLVED, False, False)
