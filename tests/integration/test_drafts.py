"""Playbooks from experience: drafted from a success, kept as one draft, promoted and deprecated by rule, and never against a person."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from schemas.action import DeletePod, ScaleWorkload
from schemas.learning import FeedbackGiven, FeedbackKept, PlaybookChanged
from schemas.target import Kind, Target
from schemas.words import Severity, Verdict
from sql import playbooks
from sql.audit import audit_rows
from sql.database import Database
from sql.playbook_sources import sources_of
from sql.playbooks import PlaybookRow, PlaybookStatus
from stages.learn.stage import Learn
from stages.notify.text import lines_of
from tests.integration.scene import KEYS, RESTART, TARGET, Scene, crowded, only

CRASH = {"alertname": "KubePodCrashLooping", "namespace": "shop"}


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


@pytest.fixture
def learn(database: Database) -> Learn:
    return Learn(database, KEYS)


async def healed(scene: Scene, learn: Learn, target: Target = TARGET, **fields: Any) -> tuple[str, str, list[PlaybookChanged]]:
    """An incident that ended in a verified success: its id, the operation, and what was told of playbooks."""
    labels, action = fields.pop("labels", {}), fields.pop("action", RESTART)
    incident = await scene.incident(target, labels=labels)
    event = scene.verified(scene.finished(incident=incident, action=action), **({"cleared": None} | fields))
    outputs = await scene.handle(learn, event)
    await scene.resolve(incident)
    scene.later(60)
    return incident, event.operation, [one for one in outputs if isinstance(one, PlaybookChanged)]


async def rate(scene: Scene, learn: Learn, incident: str, rating: int, operation: str, person: str) -> list[PlaybookChanged]:
    scene.later(1)
    given = FeedbackGiven(**scene.header(incident), person=person, rating=rating, origin="cli/test", operations=(operation,))
    outputs = await scene.handle(learn, KEYS.prove(given))
    assert only(outputs, FeedbackKept).counts
    return [one for one in outputs if isinstance(one, PlaybookChanged)]


async def books(scene: Scene) -> list[PlaybookRow]:
    async with scene.database.connection() as connection:
        return await playbooks.list_playbooks(connection)


async def decide(scene: Scene, row: PlaybookRow, status: PlaybookStatus) -> None:
    """A person decides about a version."""
    scene.later(1)
    async with scene.database.transaction() as connection:
        assert await playbooks.set_status(connection, row.name, row.version, status, by="ann", at=scene.now)
    scene.later(1)


async def test_a_success_is_drafted_for_review_and_further_ones_stand_behind_it(scene: Scene, learn: Learn) -> None:
    first, _, told = await healed(scene, learn, labels=CRASH | {"pod": "api-7d9f8b6c5d-x2x4z", "container": "web"})
    second, _, more = await healed(scene, learn, labels=CRASH | {"pod": "api-5f6d7c8b9f-b2c4d", "container": "web"}, cleared=True)
    other, _, third = await healed(scene, learn, labels=CRASH | {"pod": "api-5f6d7c8b9f-b2c4d", "container": "proxy"})
    assert [(one.before, one.after) for one in (*told, *more, *third)] == [("", "draft"), ("draft", "approved"), ("", "draft")]
    rows = {row.name: row for row in await books(scene)}
    assert set(rows) == {told[0].playbook, third[0].playbook}
    row = rows[told[0].playbook]
    assert (row.status, row.confidence, row.playbook.symptoms.targets) == (PlaybookStatus.APPROVED, 0.5, (TARGET.key,))
    assert row.playbook.symptoms.alerts == ('alertname="KubePodCrashLooping", container="web", pod=~"api-[a-z0-9]{8,10}-[a-z0-9]{5}"',)
    assert row.playbook.symptoms.severities == (Severity.P1, Severity.P2, Severity.P3)
    async with scene.database.connection() as connection:
        assert [one.incident for one in await sources_of(connection, row.name)] == [second, first]
        assert [one.incident for one in await sources_of(connection, third[0].playbook)] == [other]
        assert [(one.what, one.incident) for one in await audit_rows(connection)] == [("approve playbook", second)]
    said = lines_of(told[0])
    assert said[0] == f"playbook {row.name} version 1 was drafted"
    assert f"mend playbooks show {row.name} --version 1" in said[2]


async def test_a_success_that_left_nothing_to_wish_for_approves_no_draft_that_a_person_decided_about(scene: Scene, learn: Learn) -> None:
    first, _, (told,) = await healed(scene, learn, cleared=True)
    assert told.after == "approved"
    async with scene.database.connection() as connection:
        assert [(one.what, one.incident) for one in await audit_rows(connection)] == [("approve playbook", first)]
    (row,) = await books(scene)
    await decide(scene, row, PlaybookStatus.DRAFT)
    assert (await healed(scene, learn, cleared=True))[2] == []


async def test_a_pod_without_an_owner_is_drafted_without_its_hash(scene: Scene, learn: Learn) -> None:
    pods = [
        Target(cluster="prod", namespace="shop", kind=Kind.POD, name=f"batch-{end}") for end in ("7d9f8b6c5d-x2x4z", "5f6d7c8b9f-b2c4d")
    ]
    for pod in pods:
        await healed(scene, learn, pod, action=DeletePod(target=pod, uid="u"), labels=CRASH | {"pod": pod.name})
    (row,) = await books(scene)
    assert (row.pattern, row.playbook.symptoms.targets) == ("delete:prod/shop/batch-*", ())
    assert row.playbook.symptoms.alerts == ('alertname="KubePodCrashLooping", pod=~"batch-[a-z0-9]{8,10}-[a-z0-9]{5}"',)
    assert "x2x4z" not in msgspec.json.encode(row.playbook).decode()
    async with scene.database.connection() as connection:
        assert len(await sources_of(connection, row.name)) == 2


async def test_good_ratings_make_a_draft_propose_and_bad_ones_do_not_take_that_without_failures(scene: Scene, learn: Learn) -> None:
    incident, operation, _ = await healed(scene, learn)
    told = [await rate(scene, learn, incident, 5, operation, person) for person in ("ann", "bob", "cat", "dan")]
    assert [len(one) for one in told] == [0, 0, 0, 1]
    (changed,) = told[3]
    assert (changed.before, changed.after, changed.why) == ("draft", "approved", "its confidence is 0.9 after 4 ratings")
    (row,) = await books(scene)
    assert (row.status, row.confidence, row.started, row.decided_at) == (PlaybookStatus.APPROVED, 0.9, 0.5, None)
    assert row.changed_by == "learn/test"
    for person in ("ann", "bob", "cat", "dan", "eve"):
        assert await rate(scene, learn, incident, 1, operation, person) == []
    (row,) = await books(scene)
    assert (row.status, row.confidence) == (PlaybookStatus.APPROVED, 0.0)
    failed = scene.verified(scene.finished(incident=incident), Verdict.FAILED, playbook=row.name)
    (changed,) = [one for one in await scene.handle(learn, failed) if isinstance(one, PlaybookChanged)]
    assert (changed.before, changed.after) == ("approved", "deprecated")
    assert changed.why == "its confidence is 0 after 5 ratings, and 1 of 1 outcomes were failures"
    async with scene.database.connection() as connection:
        moves = [(one.what, one.state) for one in await audit_rows(connection)]
    assert moves == [("deprecate playbook", "success"), ("approve playbook", "success")]


async def test_a_rule_weighs_only_what_was_told_after_a_persons_decision(scene: Scene, learn: Learn) -> None:
    """What a person approved is not deprecated for what was known then, nor what a person deprecated approved, ever."""
    incident, operation, _ = await healed(scene, learn)
    (row,) = await books(scene)
    for person in ("ann", "bob", "cat"):
        await rate(scene, learn, incident, 1, operation, person)
    failed = scene.verified(scene.finished(incident=incident), Verdict.FAILED, playbook=row.name)
    await scene.handle(learn, failed)
    (row,) = await books(scene)
    assert (row.status, row.confidence) == (PlaybookStatus.DEPRECATED, 0.05)
    await decide(scene, row, PlaybookStatus.APPROVED)
    assert await rate(scene, learn, incident, 2, operation, "dan") == []
    again = scene.verified(scene.finished(incident=incident), Verdict.FAILED, playbook=row.name)
    assert [one for one in await scene.handle(learn, again) if isinstance(one, PlaybookChanged)] == []
    (told,) = await rate(scene, learn, incident, 1, operation, "eve")
    assert "2 ratings since" in told.why
    assert "1 of 1 outcomes" in told.why
    await decide(scene, row, PlaybookStatus.DEPRECATED)
    for person in ("ann", "bob", "cat", "dan", "eve", "fay", "gil", "hal", "ida"):
        assert await rate(scene, learn, incident, 5, operation, person) == []
    assert [(one.status, one.confidence) for one in await books(scene)] == [(PlaybookStatus.DEPRECATED, 1.0)]


async def test_a_rule_lets_no_draft_take_the_place_of_what_a_person_approved(scene: Scene, learn: Learn) -> None:
    incident, operation, _ = await healed(scene, learn)
    (row,) = await books(scene)
    await decide(scene, row, PlaybookStatus.APPROVED)
    async with scene.database.transaction() as connection:
        other = msgspec.structs.replace(row.playbook, description="another try")
        await playbooks.add_version(connection, other, at=scene.now, by="bob")
    for person in ("ann", "bob", "cat", "dan", "eve"):
        assert await rate(scene, learn, incident, 5, operation, person) == []
    await decide(scene, row, PlaybookStatus.DEPRECATED)
    async with scene.database.transaction() as connection:
        third = msgspec.structs.replace(row.playbook, description="one more")
        await playbooks.add_version(connection, third, at=scene.now, by="bob")
    assert await rate(scene, learn, incident, 5, operation, "fay") == [], "what was told before is not about the third version"
    async with scene.database.connection() as connection:
        found = [(one.version, one.status) for one in await playbooks.versions_of(connection, row.name)]
    assert found == [(3, PlaybookStatus.DRAFT), (2, PlaybookStatus.DRAFT), (1, PlaybookStatus.DEPRECATED)]


async def test_a_rule_misses_nothing_that_is_told_at_the_same_time(scene: Scene, learn: Learn, postgres_url: str) -> None:
    incident, operation, _ = await healed(scene, learn)
    (row,) = await books(scene)
    await rate(scene, learn, incident, 1, operation, "ann")
    scene.later(1)
    given = FeedbackGiven(**scene.header(incident), person="cat", rating=1, origin="cli/test", operations=(operation,))
    other = scene.finished(incident=await scene.incident(), action=ScaleWorkload(target=TARGET, replicas=3))
    failed = scene.verified(other, Verdict.FAILED, playbook=row.name)
    await scene.back(failed)
    async with crowded(postgres_url, "LOCK TABLE outbox IN SHARE MODE") as crowd:
        both = [asyncio.create_task(scene.handle(learn, one, backed=False)) for one in (KEYS.prove(given), failed)]
        await crowd.wait_for(2)
    told = [one for outputs in await asyncio.gather(*both) for one in outputs if isinstance(one, PlaybookChanged)]
    assert [(one.before, one.after) for one in told] == [("draft", "deprecated")]
