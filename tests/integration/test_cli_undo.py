"""`mend approvals undo` against a running `mend up --sandbox`: what was done is taken back by two people, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.kubernetes.resources import BY_KIND
from ops.sandbox import Kubectl
from schemas.target import Kind
from tests.integration.mend_process import ANA, BEN, Mend, end, installation, until
from tests.integration.test_cli import alert, break_workload

pytestmark = pytest.mark.slow


@pytest.fixture
def mend() -> Iterator[Mend]:
    """One `mend up` with a roll back that waits for a signature."""
    with installation() as mend:
        process = mend.up("--sandbox")
        asyncio.run(break_workload(mend.run.sandbox, "web"))
        mend("send-alert", "-", stdin=alert("KubePodCrashLooping", "web", "warning", "web crashes"))
        until(lambda: mend.json("approvals", "ls"), mend.log)
        yield mend
        assert end(process) == 0


async def image(server: str) -> str:
    kubectl = await Kubectl.at(server=server)
    try:
        live: dict[str, Any] = await kubectl.get(BY_KIND[Kind.DEPLOYMENT], "shop", "web")
    finally:
        await kubectl.close()
    return str(live["spec"]["template"]["spec"]["containers"][0]["image"])


def test_what_was_done_is_undone_by_two_people(mend: Mend) -> None:
    (waiting,) = mend.json("approvals", "ls")
    assert "was not done" in mend.wrong("approvals", "undo", waiting["id"], "--as", "ana", MEND_PERSON_TOKEN=ANA)
    assert "no approval" in mend.wrong("approvals", "undo", "nonsense", "--as", "ana", MEND_PERSON_TOKEN=ANA)
    assert "not the token" in mend.wrong("approvals", "undo", waiting["id"], "--as", "ana", MEND_PERSON_TOKEN=BEN)

    mend("approvals", "sign", waiting["id"], "--as", "ana", MEND_PERSON_TOKEN=ANA)
    until(lambda: asyncio.run(image(mend.run.sandbox)) == "web:1.0", mend.log)
    until(lambda: mend.json("approvals", "show", waiting["id"])["approval"]["finished_at"], mend.log)

    asked = mend.json("approvals", "undo", waiting["id"], "--as", "ana", "-m", "it was the database", MEND_PERSON_TOKEN=ANA)
    assert "1 other person must sign" in asked["said"]
    shown = mend.json("approvals", "show", asked["approval"])["approval"]
    assert (shown["proposer"], shown["action"]["to_revision"]) == ("ana", 2)
    assert "who proposed" in mend("approvals", "sign", asked["approval"], "--as", "ana", code=1, MEND_PERSON_TOKEN=ANA).stdout
    assert asyncio.run(image(mend.run.sandbox)) == "web:1.0"
    mend("approvals", "sign", asked["approval"], "--as", "ben", MEND_PERSON_TOKEN=BEN)
    until(lambda: asyncio.run(image(mend.run.sandbox)) == "web:crash", mend.log)
