"""Whether what followed bears out a diagnosis, and the critic who argued about it."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.words import Bearing, Debate, Ground, Outcome, Verdict
from sql.diagnoses import bearing_of, critic_bearing
from tests.unit.test_trust import verified


@pytest.mark.parametrize(
    ("verdict", "fields", "bearing", "objected"),
    [
        (Verdict.SUCCESS, {"ground": Ground.HEALED}, Bearing.RIGHT, Bearing.WRONG),
        (Verdict.SUCCESS, {"ground": Ground.STAYED_WELL}, Bearing.UNKNOWN, Bearing.UNKNOWN),
        (Verdict.SUCCESS, {"outcome": Outcome.UNKNOWN}, Bearing.UNKNOWN, Bearing.UNKNOWN),
        (Verdict.FAILED, {"ground": Ground.SAME_FAULT}, Bearing.WRONG, Bearing.RIGHT),
        (Verdict.FAILED, {"ground": Ground.RELAPSED}, Bearing.WRONG, Bearing.RIGHT),
        (Verdict.FAILED, {"ground": Ground.WORSE}, Bearing.UNKNOWN, Bearing.RIGHT),
        (Verdict.FAILED, {"measured": False}, Bearing.UNKNOWN, Bearing.UNKNOWN),
        (Verdict.DEGRADED, {"ground": Ground.HEALED_NOTHING}, Bearing.WRONG, Bearing.RIGHT),
        (Verdict.DEGRADED, {"ground": Ground.BETTER}, Bearing.UNKNOWN, Bearing.UNKNOWN),
    ],
)
def test_what_follows_bears_out_a_diagnosis_and_its_critic_or_not(
    verdict: Verdict, fields: dict[str, Any], bearing: Bearing, objected: Bearing
) -> None:
    event = verified(verdict, **fields)
    assert (bearing_of(event), critic_bearing(Debate.OBJECTED, event)) == (bearing, objected)
    opposite = {Bearing.RIGHT: Bearing.WRONG, Bearing.WRONG: Bearing.RIGHT, Bearing.UNKNOWN: Bearing.UNKNOWN}
    assert critic_bearing(Debate.AGREED, event) is opposite[objected]
    assert (critic_bearing(None, event), critic_bearing(Debate.UNHEARD, event)) == (None, None)
