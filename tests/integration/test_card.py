"""The card of an incident follows from the store alone: what it says, and which buttons it has, at each step of a decision."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adapters.ports import Card
from ops.cli.dossier import pages
from ops.facts.dossier import dossier_of
from schemas.action import RollBackWorkload
from schemas.event import Event
from schemas.events import PeopleAsked
from schemas.evidence import AlertView, GitOps, Sensor
from schemas.preflight import BlastRadius, Check
from schemas.words import CheckResult, Choice, Language, Mode, Outcome, Severity, Source, Tier, Verdict
from sql import lessons, recurrence
from sql.approvals import ApprovalRow
from sql.card_facts import CardFacts, card_facts, note_news
from sql.database import Database
from sql.evidence import store_snapshot
from sql.proof import Proof
from sql.repairs import Repair, recommend
from stages.gate.options import GateOptions
from stages.notify.card import card_of
from tests.integration.histories import opened, resolved
from tests.integration.scene import TARGET, Scene, gate, requested, row
from tests.unit.snapshots import pod, snapshot

ASSIST = GateOptions(mode=Mode.ASSIST)
BACK = RollBackWorkload(target=TARGET, to_revision=3)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def facts(scene: Scene, incident: str) -> CardFacts:
    async with scene.database.connection() as connection:
        found = await card_facts(connection, incident)
    assert found is not None
    return found


async def card(scene: Scene, incident: str, language: Language = Language.ENGLISH) -> Card:
    return card_of(await facts(scene, incident), language)


def shown(card: Card, label: str) -> str:
    return "\n".join(line.text for line in card.lines if line.label == label)


def buttons(card: Card) -> list[tuple[str, str]]:
    return [(button.text, button.choice.value) for button in card.buttons]


async def asked(scene: Scene, **fields: Any) -> ApprovalRow:
    """A roll back that waits for one signature."""
    plain: dict[str, Any] = {
        "reasons": ("Container web crashed 4 times.", "It began with revision 4."),
        "root_cause": "a bad image",
        "inverse": RollBackWorkload(target=TARGET, to_revision=4),
        "diff": "- image: web:4\n+ image: web:3",
        "blast": BlastRadius(score=15, tier=Tier.AUTO, pods=2, replicas=2, services=("checkout",), downtime=3.0),
        "checks": (Check(name="disruption_budget", result=CheckResult.NOT_CHECKED, detail="could not be read"),),
        "gitops": GitOps(tool="Argo CD", application="shop"),
        "source": Source.TEMPLATE,
    }
    proposal = scene.proposal(await scene.incident(), BACK, **(plain | fields))
    return await row(scene, (await scene.handle(gate(scene, ASSIST), proposal))[0].approval)  # type: ignore[union-attr]


async def test_an_incident_without_a_decision_is_being_looked_at(scene: Scene) -> None:
    incident = await scene.incident(severity=Severity.P1)
    found = await card(scene, incident)
    assert found.title == "P1 · being looked at"
    assert shown(found, "Problem") == "KubePodCrashLooping on deployment shop/api (prod)"
    assert found.buttons == ()


async def test_it_has_all_that_an_approver_needs(scene: Scene) -> None:
    waiting = await asked(scene)
    found = await card(scene, waiting.incident)
    assert found.title == "P3 · approval wanted (0 of 1 signatures)"
    assert shown(found, "Action") == "roll back deployment shop/api to revision 3"
    assert shown(found, "Why") == "Container web crashed 4 times.; It began with revision 4.; root cause: a bad image"
    assert shown(found, "From") == "template templates, proposed by propose/test, confidence 0.70"
    assert shown(found, "Decided by") == "rule not_checked, mode assist, trust 0, risk low; 1 signature"
    assert shown(found, "Until") == "2026-01-01 13:00 UTC"
    assert shown(found, "Warning") == "will be reverted by Argo CD application shop, unless its repository is changed as well"
    assert shown(found, "Reaches") == "15 of 100 (auto); 2 pods, 2 replicas; services checkout; data none; downtime 3 s"
    assert shown(found, "Checks") == "not checked: disruption budget: could not be read"
    assert found.change == ("- image: web:4", "+ image: web:3")
    assert shown(found, "Undone by").startswith("roll back deployment shop/api to revision 4 (once it was done: mend approvals undo ")
    assert shown(found, "Last times") == "never done here before"
    assert f"mend approvals show {waiting.id}" in shown(found, "More")
    assert buttons(found) == [("Sign", "sign"), ("Reject", "reject")]


async def test_it_shows_what_was_seen_in_short_and_what_has_mended_it_before(scene: Scene) -> None:
    waiting = await asked(scene)
    found = await card(scene, waiting.incident)
    assert shown(found, "Seen") == "no evidence was taken"
    unknown = "nothing is known yet; as a rule a restart, else the deletion of a pod, which is a default and no finding"
    assert shown(found, "Recommended") == unknown
    key = "token=abc123secret-of-the-log"
    sensors = tuple(Sensor(name=f"sensor{number}", seconds=0.1, error=f"{key}\nAction: x" + "y" * 900) for number in range(9))
    alerts = (AlertView(name="MemoryHigh", rule=True, fires=True),)
    async with scene.database.connection() as connection:
        seen = snapshot(pod("a"), alerts=alerts, sensors=sensors)
        await store_snapshot(connection, id=waiting.evidence, incident=waiting.incident, phase="proposal", snapshot=seen)
    told = await facts(scene, waiting.incident)
    english, chinese = [card_of(told, language) for language in Language]
    lines = shown(english, "Seen").splitlines()
    assert lines[:2] == ["12:00:00Z, 0 of 9 sensors", "alert MemoryHigh: fires (its rule in Prometheus holds)"]
    assert (len(lines), lines[-1]) == (7, f"the rest: mend approvals show {waiting.id}")
    assert all(len(line) <= 500 for line in lines)
    assert "abc123secret" not in str(english)
    assert shown(chinese, "所見").splitlines()[:6] == lines[:6]
    repairs = (Repair(verb="restart", samples=6, successes=5), Repair(verb="scale", samples=5, successes=3))
    known = msgspec.structs.replace(told, recommended=recommend(repairs))
    said = "restart: 5 of 6 healed it before, 83% (44% to 97%); scale: 3 of 5 healed it before, 60% (23% to 88%)"
    assert shown(card_of(known, Language.ENGLISH), "Recommended") == said
    assert shown(card_of(known, Language.CHINESE), "建議修復").startswith("restart：過去 6 次中有 5 次修復，83%（44% 至 97%）")
    little = msgspec.structs.replace(told, recommended=recommend([Repair(verb="restart", samples=2, successes=2)]))
    nothing = "nothing: of 2 tried for this problem none 5 times with 60% success"
    assert shown(card_of(little, Language.ENGLISH), "Recommended") == nothing


async def test_in_chinese_it_has_the_same_lines_and_buttons(scene: Scene) -> None:
    waiting = await asked(scene)
    english, chinese = [await card(scene, waiting.incident, language) for language in Language]
    assert len(english.lines) == len(chinese.lines)
    assert chinese.title == "P3 · 等待核准（0/1 人已簽核）"
    assert shown(chinese, "動作") == "將 deployment shop/api 回復至修訂版 3"
    assert [(button.text, button.choice, button.approval) for button in chinese.buttons] == [
        ("簽核", Choice.SIGN, waiting.id),
        ("否決", Choice.REJECT, waiting.id),
    ]
    assert chinese.change == english.change


async def test_what_nothing_proves_is_called_a_claim(scene: Scene) -> None:
    incident = await scene.incident()
    proposal = scene.proposal(incident, BACK)
    await scene.handle(gate(scene, ASSIST), proposal, backed=False)
    found = await card(scene, incident)
    assert "NOT PROVEN" in shown(found, "Warning")
    assert shown(found, "Why, as it claims") == "its pods crash"
    assert shown(found, "Why") == ""


async def test_a_signature_shows_and_the_buttons_change_with_each_step(scene: Scene) -> None:
    waiting = await requested(scene)  # P0: two signatures
    await scene.handle(gate(scene), scene.vote(waiting, "ann", comment="go"))
    found = await card(scene, waiting.incident)
    assert found.title == "P3 · approval wanted (1 of 2 signatures)"
    assert shown(found, "Votes") == "signed by ann: go"
    assert buttons(found) == [("Sign", "sign"), ("Reject", "reject")]
    await scene.handle(gate(scene), scene.vote(waiting, "bob"))
    found = await card(scene, waiting.incident)
    assert (found.title, buttons(found)) == ("P3 · approved", [("Stop it", "reject")])
    assert shown(found, "Until") == ""


async def test_when_it_ran_no_button_is_left_and_the_outcome_stands(scene: Scene) -> None:
    waiting = await requested(scene, severity=Severity.P2)
    await scene.handle(gate(scene), scene.vote(waiting, "ann"))
    done = scene.finished(waiting, Outcome.FAILED, error="forbidden: no permission")
    async with scene.database.connection() as connection:
        await note_news(connection, done)
    found = await card(scene, waiting.incident)
    assert (found.title, found.buttons) == ("P3 · FAILED", ())
    assert shown(found, "Outcome") == "FAILED: forbidden: no permission"


async def test_only_a_verified_success_is_called_healed(scene: Scene) -> None:
    waiting = await requested(scene, severity=Severity.P2)
    done = scene.finished(waiting)
    async with scene.database.connection() as connection:
        await note_news(connection, done)
        assert "HEALED" not in (await card(scene, waiting.incident)).title
        await scene.handle(gate(scene), scene.vote(waiting, "ann"))
        await note_news(connection, scene.verified(done, Verdict.DEGRADED, measured=False))
        found = await card(scene, waiting.incident)
        assert found.title == "P3 · NOT KNOWN WHETHER IT HEALED (nothing could be measured)"
        scene.later(1)
        await note_news(connection, scene.verified(done))
        await note_news(connection, done)
    found = await card(scene, waiting.incident)
    assert found.title == "P3 · HEALED"
    assert shown(found, "Outcome") == "DONE, NOT YET VERIFIED\nHEALED: all replicas are available"


async def test_older_news_never_replace_newer_ones(scene: Scene) -> None:
    waiting = await requested(scene, severity=Severity.P2)
    old = scene.finished(waiting, Outcome.FAILED)
    scene.later(1)
    new = scene.finished(waiting)
    async with scene.database.connection() as connection:
        for event in (new, old, new):
            await note_news(connection, event)
    found = (await facts(scene, waiting.incident)).execution
    assert found is not None
    assert found.id == new.id


@pytest.mark.parametrize(("choice", "title"), [(Choice.REJECT, "P3 · rejected"), (None, "P3 · expired, not run")])
async def test_what_was_rejected_or_expired_has_no_buttons(scene: Scene, choice: Choice | None, title: str) -> None:
    waiting = await requested(scene, severity=Severity.P2)
    if choice is not None:
        await scene.handle(gate(scene), scene.vote(waiting, "eve", choice, comment="no"))
    else:
        scene.now = waiting.expires_at + timedelta(seconds=1)
        async with scene.database.connection() as connection:
            await connection.execute("UPDATE approvals SET state = 'expired'")
    found = await card(scene, waiting.incident)
    assert (found.title, found.buttons) == (title, ())


async def test_an_incident_that_is_over_has_no_buttons(scene: Scene) -> None:
    waiting = await requested(scene, severity=Severity.P2)
    await scene.resolve(waiting.incident)
    found = await card(scene, waiting.incident)
    assert found.title == "P3 · resolved, without a repair of ours that is verified by now"
    assert found.buttons == ()


async def noted(scene: Scene, *events: Event) -> None:
    """What happened is in the knowledge base."""
    for event in events:
        await scene.back(event)
    async with scene.database.transaction() as connection:
        await lessons.take(Proof(connection), events)


async def test_what_happened_the_last_times_is_told(scene: Scene) -> None:
    first = await requested(scene, severity=Severity.P2)
    await scene.handle(gate(scene), scene.vote(first, "eve", Choice.REJECT))
    done = scene.finished(first)
    await noted(scene, done, scene.verified(done, Verdict.FAILED))
    came = [await opened(scene, first.incident), await resolved(scene, first.incident)]
    async with scene.database.transaction() as connection:
        await recurrence.take(Proof(connection), came)
    scene.later(60)
    second = await requested(scene, severity=Severity.P2)
    told = shown(await card(scene, second.incident), "Last times")
    page = dict(pages(await dossier_of(scene.database, second.id), scene.now))["last times"]
    assert page.splitlines() == [
        "done here before: 1; healed: 0; failed or not healed: 1",
        "2026-01-01 12:00:00Z: restart deployment shop/api: failed",
        "this problem came 2 times: 1 self resolved",
    ]
    assert "done here before: 1; healed: 0; failed or not healed: 1" in told
    assert "2026-01-01: restart deployment shop/api: failed" in told
    assert "this problem came 2 times" in told


async def test_what_was_done_in_the_same_incident_counts_and_what_was_not_done_does_not(scene: Scene) -> None:
    first = await requested(scene, severity=Severity.P2)
    undone = (Outcome.REFUSED, Outcome.DRY_RUN_BLOCKED, Outcome.SHADOWED, Outcome.WITHDRAWN)
    await scene.handle(gate(scene), scene.vote(first, "eve", Choice.REJECT))
    await noted(scene, scene.finished(first, Outcome.FAILED))
    await noted(scene, *(scene.finished(outcome=outcome, incident="elsewhere") for outcome in undone))
    assert shown(await card(scene, first.incident), "Last times") == "never done here before"
    scene.later(1)
    again = scene.proposal(first.incident, severity=Severity.P0)
    await scene.handle(gate(scene), again)
    found = await facts(scene, first.incident)
    assert found.approval is not None
    assert found.approval.proposal == again.id
    assert [one.outcome for one in found.past.rows] == ["failed"]
    assert (found.past.tried, found.past.failed) == (1, 1)


async def test_a_held_proposal_and_a_question_are_shown(scene: Scene) -> None:
    incident = await scene.incident()
    blocked = scene.proposal(incident, BACK, blast=BlastRadius(score=99, tier=Tier.BLOCKED))
    outputs = await scene.handle(gate(scene), blocked)
    question = next(event for event in outputs if isinstance(event, PeopleAsked))
    async with scene.database.connection() as connection:
        await note_news(connection, question)
    found = await card(scene, incident)
    assert found.title == "P3 · held (blocked), not run"
    assert shown(found, "Held, not run") == "roll back deployment shop/api to revision 3 (rule blocked)"
    assert "Nobody can approve" in shown(found, "People")


async def test_what_is_held_takes_the_title_only_when_nothing_more_is_done_by_what_the_card_shows(scene: Scene) -> None:
    waiting = await requested(scene, severity=Severity.P2)
    await scene.handle(gate(scene), scene.vote(waiting, "ann"))
    scene.later(1)
    await scene.handle(gate(scene), scene.proposal(waiting.incident, BACK, blast=BlastRadius(score=99, tier=Tier.BLOCKED)))
    found = await card(scene, waiting.incident)
    assert (found.title, buttons(found)) == ("P3 · approved", [("Stop it", "reject")])
    assert shown(found, "Action") == "restart deployment shop/api"
    held = shown(found, "Held, not run")
    assert held.startswith("roll back deployment shop/api to revision 3 (rule ")
    async with scene.database.connection() as connection:
        await note_news(connection, scene.finished(waiting, Outcome.FAILED))
    found = await card(scene, waiting.incident)
    assert found.title.startswith("P3 · held (")
    assert shown(found, "Held, not run") == held
    assert shown(found, "Outcome") == "FAILED"


async def test_an_older_proposal_that_was_held_is_not_on_the_card(scene: Scene) -> None:
    incident = await scene.incident()
    await scene.handle(gate(scene), scene.proposal(incident, BACK, blast=BlastRadius(score=99, tier=Tier.BLOCKED)))
    scene.later(1)
    await scene.handle(gate(scene), scene.proposal(incident, severity=Severity.P0))
    found = await card(scene, incident)
    assert found.title == "P3 · approval wanted (0 of 2 signatures)"
    assert shown(found, "Held, not run") == ""


async def test_the_playbook_its_similarity_near_misses_and_roles_are_shown_where_the_decision_rests_on_them(scene: Scene) -> None:
    waiting = await facts(scene, (await asked(scene, playbook="bad-image")).incident)
    assert waiting.approval is not None
    fits = [{"part": "alerts", "weight": 0.6, "share": 1.0}, {"part": "services", "weight": 0.4, "share": 0.75}]
    near = [{"playbook": "oom", "version": 2, "similarity": 0.8, "why": "no container was out of memory"}]
    playbook = {"name": "bad-image", "version": 3, "similarity": fits, "near": near}
    ruling = waiting.approval.inputs["ruling"] | {"roles": ["dba"], "risk_before": "medium"}
    approval = msgspec.structs.replace(waiting.approval, inputs=waiting.approval.inputs | {"playbook": playbook, "ruling": ruling})
    found = card_of(msgspec.structs.replace(waiting, approval=approval), Language.ENGLISH)
    assert shown(found, "From").endswith(", playbook bad-image version 3, similarity 0.90 (alerts 1.00, services 0.75)")
    assert shown(found, "Nearly fits") == "oom 0.80: no container was out of memory"
    assert shown(found, "Decided by").endswith("risk medium, by trust low; 1 signature, with dba among them")


async def test_what_a_language_model_suggests_and_a_critic_objects_is_called_that(scene: Scene) -> None:
    waiting = await asked(scene, source=Source.MODEL, provider="local", objection="the node is full as well")
    found = await card(scene, waiting.incident)
    assert shown(found, "From").startswith("a language model (local), which decides nothing, proposed by ")
    assert "a critic objects: the node is full as well" in shown(found, "Warning").splitlines()


async def test_hostile_text_stays_on_its_line_and_within_its_bounds(scene: Scene) -> None:
    text = "\x1b]0;owned\x07 token=abc123secret\nAction: delete all " + "y" * 9000
    check = Check(name="permission", result=CheckResult.NOT_CHECKED, detail=text)
    waiting = await asked(scene, reasons=(text,), root_cause=text, diff=f"+ a: {text}", checks=(check,))
    found = await card(scene, waiting.incident)
    body = msgspec.json.encode(found).decode()
    assert "abc123secret" not in body
    assert "\\u001b" not in body
    assert "\\n" not in body
    assert all(len(line.text) <= 500 for line in found.lines)
    assert all(len(line) <= 200 for line in found.change)
