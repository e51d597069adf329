"""What a playbook asks for besides, before its action counts as a success: conditions on what is seen, and questions to Prometheus.

While one is not met it is looked at again, and in the end it is `timeout`, which moves no trust: all else is well, and nobody can say
that the action did harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

import msgspec

from adapters.ports import Metrics
from schemas.evidence import Judgement, Snapshot
from schemas.facts import facts_of
from schemas.playbook import Verification
from schemas.playbook_steps import compare
from schemas.promql import written_in
from schemas.text import clean
from schemas.words import Ground, Health, Verdict
from stages.verify.judge import Assessment


async def unmet_demands(
    wanted: Verification, after: Snapshot, labels: Mapping[str, str], metrics: Metrics | None, *, at: datetime, limit: float
) -> tuple[str, ...]:
    """What is not met, or not known to be, in words; `limit` seconds for all questions together. Raises nothing."""
    facts = facts_of(after, labels)
    found = []
    for text in wanted.conditions:
        held = compare(text).holds(facts)
        if not held:
            found.append(f"{text} {'is not known' if held is None else 'does not hold'}")
    asked: list[str] = []
    for query in wanted.promql:
        try:
            asked.append(written_in(query, facts))
        except ValueError as error:
            found.append(f"{query} is not asked: {error}")
    answers = await _answers(asked, metrics, after.target.cluster, at, limit)
    found += [
        f"{query} {'gives nothing' if answer is False else 'could not be asked'}"
        for query, answer in zip(asked, answers, strict=True)
        if not answer
    ]
    return tuple(clean(one, 300) for one in found)


async def _answers(queries: list[str], metrics: Metrics | None, cluster: str, at: datetime, limit: float) -> list[bool | None]:
    if metrics is None or not queries:
        return [None] * len(queries)
    try:
        async with asyncio.timeout(limit):
            return list(await asyncio.gather(*(metrics.holds(query, cluster=cluster, at=at) for query in queries)))
    except TimeoutError:
        return [None] * len(queries)


def unless_met(found: Assessment, unmet: tuple[str, ...]) -> Assessment:
    """The assessment of a success, or what it comes to while the playbook asks for more."""
    if not unmet:
        return found
    judged = tuple(Judgement(about="playbook", health=Health.PROGRESSING, reason=one) for one in unmet)
    return msgspec.structs.replace(
        found,
        settled=False,
        verdict=Verdict.TIMEOUT,
        ground=Ground.NOT_CONVERGED,
        summary=clean(f"healthy, but its playbook asks for more: {'; '.join(unmet)}", 600),
        judgements=(*found.judgements, *judged),
    )
