"""The way back of an approval, from the gate's row to whoever asks: what is stored is what is shown, before and after, and what is run."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from ops.cli.dossier import pages
from ops.facts.dossier import Dossier
from ops.facts.way_back import Now, Origin, WayBack, find_way_back
from schemas.action import (
    Action,
    CordonNode,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetMemoryLimit,
    UncordonNode,
)
from schemas.events import ApprovalRequested
from schemas.target import Kind
from schemas.words import Choice, Mode, Outcome
from sql.approvals import ApprovalRow, get_approval
from sql.database import Database
from stages.gate.options import GateOptions
from stages.gate.stage import Gate
from stages.notify.stage import Notify
from tests.integration.scene import KEYS, TARGET, Scene, only, row
from tests.integration.test_notify import Fake

NODE = msgspec.structs.replace(TARGET, kind=Kind.NODE, namespace="", name="n1")
DONE: list[tuple[Action, Action, str]] = [
    (ScaleWorkload(target=TARGET, replicas=5), ScaleWorkload(target=TARGET, replicas=3), "scale deployment shop/api to 3 replicas"),
    (
        RollBackWorkload(target=TARGET, to_revision=6),
        RollBackWorkload(target=TARGET, to_revision=7),
        "roll back deployment shop/api to revision 7",
    ),
    (CordonNode(target=NODE), UncordonNode(target=NODE), "uncordon node n1"),
]
RESTART = RestartWorkload(target=TARGET)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


@pytest.fixture
def gate(scene: Scene) -> Gate:
    return Gate(scene.database, GateOptions(mode=Mode.ASSIST), KEYS)


async def asked(scene: Scene, gate: Gate, action: Action, inverse: Action | None) -> tuple[ApprovalRequested, ApprovalRow]:
    """What the gate asks of people, and its row."""
    proposal = scene.proposal(await scene.incident(), action, inverse=inverse)
    requested = only(await scene.handle(gate, proposal), ApprovalRequested)
    return requested, await row(scene, requested.approval)


async def known(scene: Scene, approval: str) -> tuple[WayBack, dict[str, str]]:
    """The way back, and the page of `mend approvals show`."""
    async with scene.database.connection() as connection:
        found = await get_approval(connection, approval)
        assert found is not None
        back = await find_way_back(connection, found)
    dossier = Dossier(approval=found, way_back=back, signatures=(), incident=None, evidence=None)
    return back, dict(pages(dossier, scene.now))


async def told(scene: Scene, event: object) -> list[str]:
    """The lines about the way back in the message about an event."""
    channel = Fake("up")
    await scene.handle(Notify(scene.database, [channel]), event)  # type: ignore[arg-type]
    return [line for line in channel.messages[0][1] if line.startswith("undone by")]


@pytest.mark.parametrize(("action", "inverse", "says"), DONE, ids=lambda value: getattr(value, "verb", None))
async def test_what_is_stored_is_shown_before_and_after_it_is_done(
    scene: Scene, gate: Gate, action: Action, inverse: Action, says: str
) -> None:
    requested, approval = await asked(scene, gate, action, inverse)
    command = f"mend approvals undo {approval.id}"
    before, page = await known(scene, approval.id)
    assert before == WayBack(action=inverse, says=says, origin=Origin.STORED, now=Now.NOT_YET, command=command)
    assert (page["undone by"], page["to undo"]) == (says, f"{command}   once it was done; the gate decides, and another person signs")
    assert await told(scene, requested) == [f"undone by: {says} (once it was done: {command})"]

    finished = scene.finished(approval)
    assert await told(scene, finished) == [f"undone by: {says}: {command}"]
    after, page = await known(scene, approval.id)
    assert after == msgspec.structs.replace(before, now=Now.DONE)
    assert (page["undone by"], page["to undo"]) == (says, f"{command}   the gate decides, and another person signs")


async def test_a_restart_says_that_it_has_no_way_back(scene: Scene, gate: Gate) -> None:
    requested, approval = await asked(scene, gate, RESTART, None)
    assert await told(scene, requested) == ["undone by: nothing that Mendstream can do: a restart has no inverse"]
    assert await told(scene, scene.finished(approval)) == []
    back, page = await known(scene, approval.id)
    assert back == WayBack(action=None, says="a restart has no inverse", origin=Origin.NONE, now=Now.DONE)
    assert (page["undone by"], page["to undo"]) == ("nothing that Mendstream can do: a restart has no inverse", "")


async def test_a_limit_where_there_was_none_says_why_it_stays(scene: Scene, gate: Gate) -> None:
    _, approval = await asked(scene, gate, SetMemoryLimit(target=TARGET, container="web", memory="64Mi"), None)
    back, _ = await known(scene, approval.id)
    assert back.says == "there was no limit before, and none cannot be set"


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REFUSED, Outcome.SHADOWED])
async def test_what_was_not_done_has_nothing_to_undo(scene: Scene, gate: Gate, outcome: Outcome) -> None:
    action, inverse, says = DONE[0]
    _, approval = await asked(scene, gate, action, inverse)
    assert await told(scene, scene.finished(approval, outcome=outcome)) == []
    back, page = await known(scene, approval.id)
    assert (back.action, back.now, back.command) == (inverse, Now.NEVER, "")
    assert (page["undone by"], page["to undo"]) == (says, "nothing: it was not done")


async def test_what_was_rejected_has_nothing_to_undo(scene: Scene, gate: Gate) -> None:
    action, inverse, _ = DONE[0]
    _, approval = await asked(scene, gate, action, inverse)
    scene.now += timedelta(seconds=1)
    await scene.handle(gate, scene.vote(approval, "ana", Choice.REJECT))
    back, _ = await known(scene, approval.id)
    assert (back.now, back.command) == (Now.NEVER, "")
