"""What is known of a target from outside of it: its metrics before and after, and whether the alerts themselves still hold.

The values from before are asked for afterwards, at the time of the snapshot from before: Prometheus remembers them, and the
action does not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from adapters.ports import Measurement, Metrics
from schemas.evidence import METRIC_SENSOR, Sensor, Snapshot
from schemas.target import Target
from schemas.text import clean
from sql.incidents import IncidentRow
from stages.verify.judge import Question

T = TypeVar("T")


async def with_outside(
    question: Question,
    metrics: Metrics,
    incident: IncidentRow,
    *,
    at: datetime,
    ended_at: datetime | None,
    limit: float,
    proposed: Snapshot | None = None,
) -> Question:
    """The question with what the metrics say at `at`, and the alerts; `ended_at` is the end of the action.

    `proposed` is the evidence of the proposal: an Alertmanager that had an alert then, and ran on since, may say that it is over.

    All are asked at once, for `limit` seconds each: what does not answer in time is missing, and says so.
    """
    before, target = question.before, question.after.target
    names, labels, asked = incident.alerts, incident.labels, incident.alert_labels or (incident.labels,)
    late = Measurement(sensors=(Sensor(name=f"{METRIC_SENSOR}all", seconds=limit, error=f"no answer within {limit:g} s"),))

    async def earlier() -> Measurement:
        if before is None or before.late:
            return Measurement()
        return await _within(limit, metrics.measure(target, names, labels, before.at), late)

    then, now, answers = await asyncio.gather(
        earlier(),
        _within(limit, metrics.measure(target, names, labels, at, usual_until=incident.opened_at), late),
        _answers(metrics, asked, target, proposed, limit=limit),
    )
    return msgspec.structs.replace(
        question,
        before=before if before is None or before.late else then.added_to(before),
        after=now.added_to(question.after),
        asked=len(asked),
        fires=_fires(list(answers.values()), left_out=len(names) > len(asked)),
        holding=tuple(name for name, holds in answers.items() if holds),
        gone=tuple(name for name, holds in answers.items() if holds is False),
        elapsed=None if ended_at is None else (at - ended_at).total_seconds(),
    )


async def _answers(
    metrics: Metrics, asked: Sequence[Mapping[str, str]], target: Target, proposed: Snapshot | None, *, limit: float
) -> dict[str, bool | None]:
    """Whether each of the alerts with these labels holds, by its name; None when nobody could say."""
    heard = {alert.name: alert.heard_by for alert in proposed.alerts} if proposed else {}
    names = [clean(labels.get("alertname", ""), 256) for labels in asked]
    asking = [
        metrics.firing(labels, cluster=target.cluster, target=target, heard_by=heard.get(name, ()))
        for labels, name in zip(asked, names, strict=True)
    ]
    return dict(zip(names, await asyncio.gather(*(_within(limit, one, None) for one in asking)), strict=True))


def _fires(answers: Sequence[bool | None], *, left_out: bool) -> bool | None:
    """Whether any of the alerts holds; None when none is known to, and not all could be asked about."""
    if True in answers:
        return True
    return None if None in answers or left_out else False


async def _within(seconds: float, look: Awaitable[T], otherwise: T) -> T:
    """What the look finds, or `otherwise` where it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await look
    except TimeoutError:
        return otherwise
