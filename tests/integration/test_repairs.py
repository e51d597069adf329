"""Repair statistics as the knowledge base has them, and what who signs is told of them."""

from __future__ import annotations

import pytest

from ops.cli.dossier import pages
from ops.facts.dossier import dossier_of
from schemas.action import Action, Investigate, ScaleWorkload
from schemas.events import ApprovalRequested
from schemas.target import Target
from schemas.words import Language, Mode, Verdict
from sql.card_facts import card_facts
from sql.database import Database
from sql.repairs import Repair, repairs_of
from stages.gate.options import GateOptions
from stages.learn.stage import Learn
from stages.notify.card import card_of
from tests.integration.scene import RESTART, TARGET, Scene, deployment, gate

SCALE = ScaleWorkload(target=TARGET, replicas=3)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def tried(scene: Scene, action: Action, verdict: Verdict, *, target: Target = TARGET, alert: str = "KubePodCrashLooping") -> None:
    """An incident in which this was done, and how it was judged."""
    incident = await scene.incident(target, alert=alert)
    finished = scene.finished(incident=incident, action=action)
    for event in (finished, scene.verified(finished, verdict)):
        await scene.handle(Learn(scene.database), event)
    await scene.resolve(incident)
    scene.later(60)


async def test_what_was_done_for_the_same_alert_on_the_same_target_is_counted_by_kind(scene: Scene) -> None:
    for verdict in (Verdict.SUCCESS, Verdict.FAILED, Verdict.DEGRADED, Verdict.TIMEOUT):
        await tried(scene, RESTART, verdict)
    await tried(scene, SCALE, Verdict.SUCCESS)
    await tried(scene, Investigate(target=TARGET), Verdict.DEGRADED)
    await tried(scene, RESTART, Verdict.SUCCESS, alert="HighLatency")
    await tried(scene, RESTART, Verdict.SUCCESS, target=deployment("web"))
    incident = await scene.incident()
    async with scene.database.connection() as connection:
        found = sorted(await repairs_of(connection, incident), key=lambda one: one.verb)
    assert found == [Repair(verb="restart", samples=3, successes=1, seconds=1.5), Repair(verb="scale", samples=1, successes=1, seconds=1.5)]


@pytest.mark.parametrize(
    ("healed", "failed", "said"),
    [
        (5, 1, "restart: 5 of 6 healed it before, 83% (44% to 97%), 1.5 s on average"),
        (2, 1, "nothing: of 3 tried for this problem none 5 times with 60% success"),
        (0, 0, "nothing is known yet; as a rule a restart, else the deletion of a pod, which is a default and no finding"),
    ],
)
async def test_who_signs_is_told_what_has_mended_it_before(scene: Scene, healed: int, failed: int, said: str) -> None:
    for verdict in [Verdict.SUCCESS] * healed + [Verdict.FAILED] * failed:
        await tried(scene, RESTART, verdict)
    proposal = scene.proposal(await scene.incident())
    (asked, *_) = await scene.handle(gate(scene, GateOptions(mode=Mode.ASSIST)), proposal)
    assert isinstance(asked, ApprovalRequested)
    assert dict(pages(await dossier_of(scene.database, asked.approval), scene.now))["recommended"] == said
    async with scene.database.connection() as connection:
        facts = await card_facts(connection, proposal.incident)
    assert facts is not None
    (line,) = (line.text for line in card_of(facts, Language.ENGLISH).lines if line.label == "Recommended")
    assert said.startswith(line)
