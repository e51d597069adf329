"""What a playbook asks for besides, before its action counts as a success: conditions on what is seen, and questions to Prometheus.

While one is not met it is looked at again, and in the end it is `timeout`, which moves no trust: all else is well, and nobody can say
that the action did harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from adapters.ports import Metrics
from schemas.evidence import Snapshot
from schemas.facts import facts_of
from schemas.judgement import Demand, Judgement
from schemas.playbook import Verification
from schemas.playbook_steps import compare
from schemas.promql import written_in
from schemas.text import clean
from schemas.words import Ground, Health, Verdict
from stages.verify.judge import Assessment

_LIMIT = 300  # characters


def demands_of(wanted: Verification) -> tuple[Demand, ...]:
    """All that is asked for, before anybody has looked."""
    return tuple(Demand(said=clean(text, _LIMIT)) for text in (*wanted.conditions, *wanted.promql))


async def look_at_demands(
    wanted: Verification, after: Snapshot, labels: Mapping[str, str], metrics: Metrics | None, *, at: datetime, limit: float
) -> tuple[Demand, ...]:
    """All that is asked for, with what of it holds, and why not, in words; `limit` seconds for all questions together. Raises nothing."""
    facts = facts_of(after, labels)
    found = []
    for text in wanted.conditions:
        held = compare(text).holds(facts)
        found.append(_demand(text, held, "is not known" if held is None else "does not hold"))
    asked: dict[str, str] = {}
    unasked: dict[str, str] = {}
    for query in wanted.promql:
        try:
            asked[query] = written_in(query, facts)
        except ValueError as error:
            unasked[query] = f"is not asked: {error}"
    answers = dict(zip(asked, await _answers(list(asked.values()), metrics, after.target.cluster, at, limit), strict=True))
    for query in wanted.promql:
        answer = answers.get(query)
        text = asked.get(query, query)
        found.append(_demand(text, answer, unasked.get(query, "gives nothing" if answer is False else "could not be asked")))
    return tuple(found)


def _demand(text: str, held: bool | None, why: str) -> Demand:
    return Demand(said=clean(text, _LIMIT), held=held, why="" if held else clean(f"{text} {why}", _LIMIT))


def unmet(demands: Iterable[Demand]) -> tuple[str, ...]:
    """What is not met, or not known to be, in words."""
    return tuple(one.why for one in demands if not one.held)


async def _answers(queries: list[str], metrics: Metrics | None, cluster: str, at: datetime, limit: float) -> list[bool | None]:
    if metrics is None or not queries:
        return [None] * len(queries)
    try:
        async with asyncio.timeout(limit):
            return list(await asyncio.gather(*(metrics.holds(query, cluster=cluster, at=at) for query in queries)))
    except TimeoutError:
        return [None] * len(queries)


def unless_met(found: Assessment, missing: tuple[str, ...]) -> Assessment:
    """The assessment of a success, or what it comes to while the playbook asks for more."""
    if not missing:
        return found
    judged = tuple(Judgement(about="playbook", health=Health.PROGRESSING, reason=one) for one in missing)
    return msgspec.structs.replace(
        found,
        settled=False,
        verdict=Verdict.TIMEOUT,
        ground=Ground.NOT_CONVERGED,
        summary=clean(f"healthy, but its playbook asks for more: {'; '.join(missing)}", 600),
        judgements=(*found.judgements, *judged),
    )
