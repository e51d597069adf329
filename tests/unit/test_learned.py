"""What is known of a problem: how much, which action was best, and what is recommended by it."""

from __future__ import annotations

import pytest

from ops.cli.advice import recommended
from ops.facts.learning import Status, advice_of, summarise
from schemas.target import Kind
from sql.problems import usual_repairs
from sql.repairs import Recommendation, Repair, recommend


def repair(verb: str, successes: int, samples: int) -> Repair:
    return Repair(verb=verb, samples=samples, successes=successes, seconds=2.0)


@pytest.mark.parametrize(
    ("tried", "status", "best"),
    [
        ([], Status.INSUFFICIENT, None),
        ([("restart", 2, 2)], Status.INSUFFICIENT, None),
        ([("restart", 2, 2), ("scale", 1, 1)], Status.LEARNING, None),
        ([("restart", 3, 3)], Status.LEARNING, "restart"),
        ([("restart", 9, 9)], Status.LEARNING, "restart"),
        ([("restart", 8, 10)], Status.EXCELLENT, "restart"),
        ([("restart", 7, 10)], Status.SUFFICIENT, "restart"),
        ([("restart", 0, 10)], Status.SUFFICIENT, None),
        ([("restart", 3, 9), ("scale", 3, 3), ("rollback", 2, 2)], Status.SUFFICIENT, "scale"),
        ([("scale", 3, 3), ("restart", 3, 3)], Status.LEARNING, "restart"),
    ],
)
def test_a_summary_says_how_much_is_known_and_what_was_best(tried: list[tuple[str, int, int]], status: Status, best: str | None) -> None:
    found = summarise("key", [repair(*one) for one in tried])
    assert (found.status, found.best.verb if found.best else None) == (status, best)
    assert (found.attempts, found.successes) == (sum(one[2] for one in tried), sum(one[1] for one in tried))
    assert found.rate is None if not tried else found.interval.low <= (found.rate or 0.0) <= found.interval.high
    assert [one.rate for one in found.actions if not one.interval.low <= one.rate <= one.interval.high] == []


@pytest.mark.parametrize(
    ("tried", "kind", "lines"),
    [
        ([], Kind.DEPLOYMENT, ["nothing is known yet; as a rule a restart, else the deletion of a pod, which is a default and no finding"]),
        ([], Kind.HOST, []),
        ([("restart", 4, 4)], Kind.POD, ["nothing: of 4 tried for this problem none 5 times with 60% success"]),
        (
            [("restart", 9, 10), ("scale", 5, 5), ("limit", 3, 5), ("rollback", 2, 5)],
            Kind.DEPLOYMENT,
            [
                "restart: 9 of 10 healed it before, 90% (60% to 98%), 2.0 s on average",
                "else scale: 5 of 5 healed it before, 100% (57% to 100%), 2.0 s on average",
                "else limit: 3 of 5 healed it before, 60% (23% to 88%), 2.0 s on average",
            ],
        ),
    ],
)
def test_advice_has_figures_and_how_sure_they_are_or_says_that_it_is_a_default(
    tried: list[tuple[str, int, int]], kind: Kind, lines: list[str]
) -> None:
    assert list(recommended(advice_of(recommend([repair(*one) for one in tried]), kind))) == lines


def test_without_data_a_restart_comes_before_the_deletion_of_a_pod() -> None:
    assert advice_of(Recommendation(), Kind.STATEFULSET).usual == usual_repairs(Kind.POD) == ("restart", "delete")
    assert advice_of(Recommendation(), None).usual == ()
