"""What is known of a target from outside of it: its metrics before and after, and whether the alert itself still holds.

The values from before are asked for afterwards, at the time of the snapshot from before: Prometheus remembers them, and the
action does not wait for it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec

from adapters.ports import Measurement, Metrics
from schemas.evidence import METRIC_SENSOR, Sensor
from sql.incidents import IncidentRow
from stages.verify.judge import Question


async def with_outside(
    question: Question, metrics: Metrics, incident: IncidentRow, *, at: datetime, ended_at: datetime | None, limit: float
) -> Question:
    """The question with what the metrics say at `at`, and the alert; `ended_at` is the end of the action, `limit` in seconds.

    What does not answer in time is missing, and says so.
    """
    before, target = question.before, question.after.target
    alerts, labels = incident.alerts, incident.labels

    async def earlier() -> Measurement:
        return Measurement() if before is None or before.late else await metrics.measure(target, alerts, labels, before.at)

    try:
        async with asyncio.timeout(limit):
            then, now, fires = await asyncio.gather(
                earlier(),
                metrics.measure(target, alerts, labels, at, usual_until=incident.opened_at),
                metrics.firing(labels, cluster=target.cluster),
            )
    except TimeoutError:
        error = f"no answer within {limit:g} s"
        late = Measurement(sensors=(Sensor(name=f"{METRIC_SENSOR}all", seconds=limit, error=error),))
        return msgspec.structs.replace(question, asked=True, after=late.added_to(question.after))
    return msgspec.structs.replace(
        question,
        before=before if before is None or before.late else then.added_to(before),
        after=now.added_to(question.after),
        asked=True,
        fires=fires,
        elapsed=None if ended_at is None else (at - ended_at).total_seconds(),
    )
