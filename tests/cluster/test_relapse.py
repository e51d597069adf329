"""A remedy that does not last, on a real control plane: healthy after the restart, wedged again before its hold-down is over."""

from __future__ import annotations

import msgspec
import pytest

from ops.sandbox.kubectl import unready
from schemas import events as e
from schemas.action import RestartWorkload
from schemas.words import Ground, Verdict
from tests.cluster.conftest import Deploy, Place
from tests.cluster.test_pipeline import running
from tests.e2e.alertmanager import needs_alertmanager

pytestmark = [pytest.mark.cluster, needs_alertmanager]

_SETTINGS = """
[gate]
mode = "auto"

[verify]
settle = 1.0
interval = 1.0
limit = 6.0
hold_down = 10.0

[clusters.default]
kubeconfig = "{kubeconfig}"
"""


async def test_a_wedge_that_comes_back_within_the_hold_down_is_a_relapse_and_never_called_healed(
    real: Place, deploy: Deploy, kubeconfig: str
) -> None:
    web = await deploy("web", "sim/web:wedge-7s")
    await real.kubectl.until(web, unready)

    async with running(kubeconfig, _SETTINGS) as scene:
        story = await scene.fire("WebWedged", web)
        verified = await story.until(e.VerificationFinished)
        assert isinstance(verified.action, RestartWorkload)
        assert (verified.verdict, verified.relapse, verified.ground) == (Verdict.FAILED, True, Ground.RELAPSED)
        assert verified.held >= 10
        assert verified.score < 0.5
        asked = await story.until(e.PeopleAsked)
        assert "helped at first, and it came back" in asked.reason
        await story.until(e.LessonLearned)
        assert story.count(e.VerificationFinished) == 1
        assert story.count(e.ExecutionFinished) == 1
        shown = msgspec.json.decode(await scene.pipeline.mend("incidents", "show", story.incident, "--json"))
        assert shown["incident"]["succeeded"] is False
        assert any(line["what"].startswith("healthy so far, held until") for line in shown["timeline"])
