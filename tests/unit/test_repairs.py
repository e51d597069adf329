"""The recommended fix: by how often and how well, and never by a guess."""

from __future__ import annotations

import math

import pytest

from sql.repairs import Repair, recommend


def verbs(*tried: tuple[str, int, int]) -> list[str]:
    return [one.verb for one in recommend([Repair(verb=verb, samples=all_, successes=good) for verb, good, all_ in tried]).repairs]


@pytest.mark.parametrize(
    ("tried", "recommended"),
    [
        ((), []),
        ((("restart", 4, 4),), []),
        ((("restart", 5, 5),), ["restart"]),
        ((("restart", 2, 5),), []),
        ((("restart", 3, 5),), ["restart"]),
        ((("restart", 5, 5), ("rollback", 18, 20)), ["rollback", "restart"]),
        ((("rollback", 5, 5), ("scale", 5, 5), ("restart", 5, 5), ("limit", 5, 5)), ["restart", "limit", "scale"]),
    ],
)
def test_five_samples_and_sixty_percent_then_the_highest_score_and_of_equals_what_changes_less(
    tried: tuple[tuple[str, int, int], ...], recommended: list[str]
) -> None:
    assert verbs(*tried) == recommended


def test_the_score_grows_with_the_rate_and_the_number() -> None:
    assert Repair(verb="restart", samples=9, successes=6).score == pytest.approx(6 / 9 * math.log(10))
    assert recommend([Repair(verb="restart", samples=3, successes=3), Repair(verb="scale", samples=2, successes=0)]).tried == 5
