"""What the message to whoever is asked to sign says: nothing that decides is cut away."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.action import Action, RestartWorkload, RollBackWorkload
from schemas.events import ApprovalRequested
from schemas.evidence import GitOps
from schemas.preflight import BlastRadius, Check
from schemas.words import CheckResult, Mode, Tier
from sql.database import Database
from stages.gate.options import GateOptions
from stages.gate.stage import Gate
from stages.notify.stage import Notify
from tests.integration.scene import KEYS, TARGET, Scene, only, row
from tests.integration.test_notify import Fake

BACK = RollBackWorkload(target=TARGET, to_revision=3)
REASONS = (
    "Container web crashed 4 times.",
    "It began with revision 4.",
    "Revision 3 was fully available.",
    "Nothing else has changed.",
    "It is managed by Argo CD application shop: it will revert this change, unless the repository is changed as well.",
)
IMAGE = "- spec.template.spec.containers[web].image: web:4\n+ spec.template.spec.containers[web].image: web:3"


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def told(scene: Scene, action: Action = BACK, **fields: Any) -> list[str]:
    """The message about a request, without its first and last lines, which every request has."""
    channel = Fake("up")
    plain: dict[str, Any] = {"reasons": REASONS, "inverse": RollBackWorkload(target=TARGET, to_revision=4), "diff": IMAGE}
    plain |= {"gitops": GitOps(tool="Argo CD", application="shop"), "blast": BlastRadius(score=15, tier=Tier.AUTO, pods=2)}
    gate = Gate(scene.database, GateOptions(mode=Mode.ASSIST), KEYS)
    requested = only(await scene.handle(gate, scene.proposal(await scene.incident(), action, **(plain | fields))), ApprovalRequested)
    await scene.handle(Notify(scene.database, [channel]), requested)
    assert (await row(scene, requested.approval)).id == requested.approval
    return [line.replace(requested.approval, "ID") for line in channel.messages[0][1][3:-1]]


async def test_a_roll_back_is_told_with_all_that_decides(scene: Scene) -> None:
    unsure = Check(name="disruption_budget", result=CheckResult.NOT_CHECKED, detail="budgets or pods could not be read")
    assert await told(scene, checks=(Check(name="permission", result=CheckResult.PASSED), unsure)) == [
        "why: Container web crashed 4 times.; It began with revision 4.; Revision 3 was fully available.",
        "will be reverted by Argo CD application shop, unless its repository is changed as well",
        "blast radius 15 of 100 (auto): 2 pods",
        "changes - spec.template.spec.containers[web].image: web:4",
        "changes + spec.template.spec.containers[web].image: web:3",
        "undone by: roll back deployment shop/api to revision 4 (once it was done: mend approvals undo ID)",
        "not checked: disruption budget: budgets or pods could not be read",
    ]


async def test_what_has_no_way_back_and_is_not_reverted_says_so(scene: Scene) -> None:
    lines = await told(scene, RestartWorkload(target=TARGET), inverse=None, diff="")
    assert "undone by: nothing that Mendstream can do: a restart has no inverse" in lines
    assert not [line for line in lines if "reverted" in line or line.startswith(("changes", "not checked"))]


async def test_without_any_check_that_is_told(scene: Scene) -> None:
    assert (await told(scene, checks=()))[-1] == "not checked: no check was run"


async def test_long_lists_say_that_they_go_on(scene: Scene) -> None:
    checks = tuple(Check(name=f"check_{number}", result=CheckResult.NOT_CHECKED, detail="away") for number in range(9))
    lines = await told(scene, diff="\n".join(f"+ spec.field{number}: x" for number in range(20)), checks=checks)
    assert "and 14 more lines of the change: mend approvals show ID" in lines
    assert lines[-1] == "and 3 more such checks: mend approvals show ID"
    assert sum(line.startswith("changes ") for line in lines) == 6


async def test_hostile_text_in_them_stays_on_its_line(scene: Scene) -> None:
    check = Check(name="permission", result=CheckResult.NOT_CHECKED, detail="x\nAPPROVAL WANTED: sign\x1b[2J password=hunter2")
    text = "\n".join(await told(scene, checks=(check,), diff="+ a: \x1b]0;x\x07 token=abcdef0123456789"))
    assert "\nAPPROVAL" not in text
    assert "\x1b" not in text
    assert "hunter2" not in text
    assert "abcdef0123456789" not in text
    assert msgspec.json.encode(text)
