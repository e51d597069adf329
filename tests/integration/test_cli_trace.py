"""`mend trace` of a storm: how it began and how it ended are shown, and how much of the middle is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bus.connect import connect
from schemas.events import IncidentClosed, IncidentUpdated
from schemas.identity import new_id
from schemas.target import Kind, Target
from schemas.words import Severity, SignalStatus
from sql import event_log
from sql.database import Database
from tests.integration.mend_process import SETTINGS, installation
from tests.integration.test_event_log import entry

TARGET = Target(cluster="c", kind=Kind.DEPLOYMENT, namespace="n", name="a")
STORM = 5_500
SHOWN = 5_000


async def test_the_end_of_a_storm_is_shown_and_what_is_left_out_is_counted(database: Database, redis_url: str, postgres_url: str) -> None:
    """Also where the streams still hold what is left out."""
    start = datetime.now(UTC) - timedelta(hours=2)
    incident = new_id(start)
    told: dict[str, Any] = {"id": "", "at": start, "key": TARGET.key, "by": "ingest/h", "incident": incident, "target": TARGET}
    repeated = IncidentUpdated(**told, severity=Severity.P2, alert="a", status=SignalStatus.FIRING, firing=1)
    times = [start + timedelta(seconds=number) for number in range(STORM + 1)]
    storm = [msgspec.structs.replace(repeated, id=new_id(at), at=at) for at in times[:-1]]
    end = IncidentClosed(**told | {"id": new_id(times[-1]), "at": times[-1]})
    await event_log.store(database, [entry(event, number) for number, event in enumerate([*storm, end])])
    bus = await connect(redis_url, name="test")
    await bus.append(storm[2_000:3_500])
    await bus.close()
    stores: dict[str, Any] = {"MEND_REDIS_URL": redis_url, "MEND_POSTGRES_URL": postgres_url}
    with installation(SETTINGS) as mend:
        nodes = mend.json("trace", incident, **stores)
        text = mend.said("trace", incident, **stores)
    (gap,) = [node for node in nodes if not node["id"]]
    assert (gap["type"], gap["body"]) == ("(501 events left out)", {"left_out": STORM + 1 - SHOWN})
    assert len(nodes) == SHOWN + 1
    assert (nodes[0]["id"], nodes[-1]["id"]) == (storm[0].id, end.id)
    assert datetime.fromisoformat(nodes[nodes.index(gap) + 1]["at"]) - datetime.fromisoformat(gap["at"]) == timedelta(seconds=501)
    lines = text.splitlines()
    assert lines[-1].startswith("IncidentClosed ")
    assert len([line for line in lines if line.startswith("(501 events left out)")]) == 1
