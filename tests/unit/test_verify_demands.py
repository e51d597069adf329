"""What a playbook asks for besides: what is not met, or not known, is said, and keeps a success back."""

from __future__ import annotations

import asyncio
from typing import Any

from schemas.playbook import Verification
from stages.verify import demands
from stages.verify.demands import demands_of, look_at_demands
from stages.verify.touched import touched_pods
from tests.unit.snapshots import NOW, pod, snapshot, without

SEEN = snapshot(pod("a"), pod("b"))


class Asked:
    """A Prometheus that says yes to what is in `yes`, no to what is in `no`, and does not answer for the rest."""

    def __init__(self, *, yes: tuple[str, ...] = (), no: tuple[str, ...] = (), hangs: bool = False) -> None:
        self.answers = dict.fromkeys(yes, True) | dict.fromkeys(no, False)
        self.hangs = hangs

    async def holds(self, query: str, *, cluster: str, at: Any) -> bool | None:
        assert (cluster, at) == ("prod", NOW)
        if self.hangs:
            await asyncio.Event().wait()
        return self.answers.get(query)


async def unmet(wanted: Verification, metrics: Any = None, limit: float = 30, **labels: str) -> tuple[str, ...]:
    return demands.unmet(await look_at_demands(wanted, SEEN, labels, metrics, at=NOW, limit=limit))


async def test_conditions_are_about_what_is_seen_now() -> None:
    wanted = Verification(conditions=("evidence.pods.ready == 2", "evidence.pods.ready > 2", "evidence.job.complete == true"))
    assert await unmet(wanted) == ("evidence.pods.ready > 2 does not hold", "evidence.job.complete == true is not known")
    blind = await look_at_demands(wanted, without(SEEN, "pods"), {}, None, at=NOW, limit=30)
    assert [(one.said, one.held) for one in blind] == [(text, None) for text in wanted.conditions]
    seen = await look_at_demands(wanted, SEEN, {}, None, at=NOW, limit=30)
    assert [one.held for one in seen] == [True, False, None]
    assert [(one.said, one.held) for one in demands_of(wanted)] == [(text, None) for text in wanted.conditions]


async def test_a_question_that_gives_nothing_or_gets_no_answer_is_not_met() -> None:
    wanted = Verification(promql=('up{job="{labels.job}"}', "vector(1)", "vector(2)"))
    answers = Asked(yes=('up{job="api"}',), no=("vector(1)",))
    assert await unmet(wanted, answers, job="api") == ("vector(1) gives nothing", "vector(2) could not be asked")
    assert await unmet(wanted, None, job="api") == tuple(
        f"{query} could not be asked" for query in ('up{job="api"}', "vector(1)", "vector(2)")
    )
    assert len(await unmet(wanted, Asked(hangs=True), limit=0.01, job="api")) == 3


async def test_a_label_that_may_not_stand_in_promql_is_not_asked_about() -> None:
    wanted = Verification(promql=('up{job="{labels.job}"}',))
    (said,) = await unmet(wanted, Asked(), job='x"} or vector(1) or up{a="')
    assert "is not asked: labels.job has characters that are not written into PromQL" in said


def test_the_pods_that_are_gone_or_replaced_are_what_was_touched() -> None:
    after = snapshot(pod("a"), pod("c"))
    assert touched_pods(SEEN, after) == 1
    assert touched_pods(SEEN, SEEN) == 0
    assert touched_pods(None, after) is None
    assert touched_pods(without(SEEN, "pods"), after) is None
    assert touched_pods(SEEN, without(after, "pods")) is None
