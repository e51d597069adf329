"""The store of playbooks: versions that stay, one that counts, and what was learned before there were any."""

from __future__ import annotations

import msgspec
import pytest

from schemas.playbook import Playbook
from schemas.playbook_file import read_playbook
from schemas.words import Severity, Source
from sql import playbooks
from sql.database import Database
from sql.migrate import migrations
from sql.playbooks import PlaybookRow, PlaybookStatus
from tests.integration.scene import Scene

TEXT = """\
name: restart-api
title: Restart what hangs
owner: ana
mode: assist
limits: {cooldown: 60, most_per_hour: 2}
symptoms: {alerts: ['alertname="KubePodNotReady"']}
steps: [{do: RestartWorkload}]
"""
FIRST = read_playbook(TEXT)
SECOND = read_playbook(TEXT.replace("what hangs", "what hangs, twice"))


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def added(scene: Scene, playbook: Playbook) -> PlaybookRow | None:
    scene.later(1)
    async with scene.database.transaction() as connection:
        return await playbooks.add_version(connection, playbook, at=scene.now, by="ana")


async def moved(scene: Scene, version: int, status: PlaybookStatus, by: str = "ana") -> bool:
    async with scene.database.transaction() as connection:
        return await playbooks.set_status(connection, "restart-api", version, status, by=by, at=scene.now)


async def statuses(scene: Scene) -> dict[int, PlaybookStatus]:
    async with scene.database.connection() as connection:
        return {row.version: row.status for row in await playbooks.versions_of(connection, "restart-api")}


async def test_versions_are_kept_and_the_same_again_is_none(scene: Scene) -> None:
    first, again, second = await added(scene, FIRST), await added(scene, FIRST), await added(scene, SECOND)
    assert first is not None
    assert second is not None
    assert again is None
    assert (first.version, second.version) == (1, 2)
    async with scene.database.connection() as connection:
        newest = await playbooks.get_playbook(connection, "restart-api")
        kept = await playbooks.get_playbook(connection, "restart-api", 1)
        assert await playbooks.get_playbook(connection, "restart-api", 3) is None
        assert [row.version for row in await playbooks.list_playbooks(connection)] == [2]
    assert newest == second
    assert kept == first
    assert (kept.owner, kept.mode, kept.limits.most_per_hour, kept.source) == ("ana", "assist", 2, Source.PERSON)


async def test_of_a_playbook_the_newest_approved_version_counts(scene: Scene) -> None:
    await added(scene, FIRST)
    assert await moved(scene, 1, PlaybookStatus.APPROVED)
    await added(scene, SECOND)
    async with scene.database.connection() as connection:
        (row,) = await playbooks.list_playbooks(connection, statuses=[PlaybookStatus.APPROVED])
    assert row.version == 1
    assert await moved(scene, 2, PlaybookStatus.APPROVED, by="bo")
    assert await statuses(scene) == {2: PlaybookStatus.APPROVED, 1: PlaybookStatus.DEPRECATED}
    assert await moved(scene, 2, PlaybookStatus.DEPRECATED)
    async with scene.database.connection() as connection:
        assert await playbooks.list_playbooks(connection, statuses=[PlaybookStatus.APPROVED]) == []
    assert not await moved(scene, 3, PlaybookStatus.APPROVED)


async def test_who_goes_back_to_an_older_version_takes_the_newer_one_away(scene: Scene) -> None:
    await added(scene, FIRST)
    await added(scene, SECOND)
    assert await moved(scene, 2, PlaybookStatus.APPROVED)
    assert await moved(scene, 1, PlaybookStatus.APPROVED, by="bo")
    assert await statuses(scene) == {2: PlaybookStatus.DEPRECATED, 1: PlaybookStatus.APPROVED}
    async with scene.database.connection() as connection:
        (row,) = await playbooks.list_playbooks(connection, statuses=[PlaybookStatus.APPROVED])
        other = await playbooks.get_playbook(connection, "restart-api", 2)
    assert row.version == 1
    assert other is not None
    assert other.changed_by == "bo"


async def test_every_change_is_counted_and_a_look_is_none(scene: Scene) -> None:
    async with scene.database.connection() as connection:
        before = await playbooks.changes(connection)
        await added(scene, FIRST)
        await added(scene, FIRST)
        assert await playbooks.changes(connection) == before + 1
        await moved(scene, 1, PlaybookStatus.APPROVED)
        assert await playbooks.changes(connection) == before + 2


async def test_a_long_list_is_read_page_by_page(scene: Scene) -> None:
    for number in range(5):
        await added(scene, msgspec.structs.replace(FIRST, name=f"p{number}"))
    pages, last = [], ""
    async with scene.database.connection() as connection:
        await connection.execute("INSERT INTO playbook_trust VALUES ('p3', 0.9, 1, 0, now()), ('p1', 0.1, 0, 1, now())")
        while page := await playbooks.list_playbooks(connection, limit=2, after=last):
            pages.append([row.name for row in page])
            last = page[-1].name
    assert pages == [["p3", "p0"], ["p2", "p4"], ["p1"]]


_OLD = """
INSERT INTO playbooks (id, title, status, alert, pattern, symptoms, steps, source, confidence, created_at, changed_by)
VALUES ($1, 'It "crashed"', 'approved', $2, 'restart:prod/shop/api', $3, $4, 'template', 0.5, now(), 'learn/a')
"""


async def test_what_was_learned_before_is_the_first_version_of_a_playbook(scene: Scene) -> None:
    """The tables as they were before versions, with three rows, and the migration once more."""
    (text,) = [text for name, text in migrations() if name.startswith("0011")]
    (old,) = [text for name, text in migrations() if name.startswith("0005")]
    table = old[old.index("CREATE TABLE playbooks") : old.index("-- What became of a playbook")]
    target = '"target":{"cluster":"prod","kind":"Deployment","name":"api","namespace":"shop"}'
    symptoms = '{"alerts":["Odd \\"one\\""],"services":["api"],"severities":["P1","P2"]}'
    steps = (
        f'[{{"do":"RestartWorkload",{target}}}]',
        f'[{{"do":"RollBackWorkload",{target},"to_revision":3}}]',
        f'[{{"do":"ScaleWorkload",{target},"replicas":4}}]',
    )
    async with scene.database.transaction() as connection:
        await connection.execute("DROP TABLE playbooks, playbook_changes")
        await connection.execute(table)
        for number, body in enumerate(steps):
            await connection.execute(_OLD, str(number), f'Odd "one" {number}', symptoms, body)
        await connection.execute(text)
        await connection.execute("ALTER TABLE playbooks ADD COLUMN decided_at timestamptz")
        rows = sorted(await playbooks.list_playbooks(connection), key=lambda row: row.alert)
    restart, back, scale = rows
    assert (restart.version, restart.status, restart.changed_by) == (1, PlaybookStatus.APPROVED, "learn/a")
    assert restart.name == playbooks.learned_name('Odd "one" 0', "restart:prod/shop/api")
    assert restart.playbook.symptoms.alerts == ('alertname="Odd \\"one\\" 0"',)
    assert restart.playbook.symptoms.targets == ("prod/shop/Deployment/api",)
    assert restart.playbook.symptoms.severities == (Severity.P1, Severity.P2)
    assert msgspec.to_builtins(restart.playbook.steps[0])["when"] == ("evidence.restart.may_help == true",)
    assert msgspec.to_builtins(back.playbook.steps[0])["to_revision"] == "{evidence.rollout.good}"
    assert msgspec.to_builtins(scale.playbook.steps[0])["when"] == ("evidence.workload.desired < 4",)
    for row in rows:
        assert read_playbook(msgspec.json.encode(row.playbook).decode()) == row.playbook
