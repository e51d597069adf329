"""The ledger's own promises on a real Postgres: one operation for each approval, one holder for each target, the newest token writes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.action import RestartWorkload
from schemas.target import Kind, Target
from schemas.words import OperationState, Outcome
from sql.database import Database
from sql.operations import (
    Lease,
    LeaseHeld,
    Operation,
    defer_operation,
    finish_operation,
    get_operation,
    list_operations,
    open_operation,
    release_lease,
    renew_lease,
    start_operation,
    take_lease,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACTION = RestartWorkload(target=Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="api"))


async def opened(database: Database, **fields: Any) -> Operation:
    plain: dict[str, Any] = {"id": "op", "approval": "a", "incident": "i", "action": ACTION, "uid": "u", "awaits": "e", "at": NOW}
    async with database.transaction() as connection:
        return await open_operation(connection, **(plain | fields))


async def taken(database: Database, *, seconds: float = 60, holder: str = "one", target: str = "t") -> Lease | LeaseHeld:
    async with database.transaction() as connection:
        return await take_lease(connection, target=target, operation="op", holder=holder, seconds=seconds)


async def lease_of(database: Database, *, seconds: float = 60) -> Lease:
    lease = await taken(database, seconds=seconds)
    assert isinstance(lease, Lease)
    return lease


async def overtaken(database: Database) -> tuple[Lease, Lease]:
    """A lease that ran out, and the one that was taken after it."""
    old = await lease_of(database, seconds=-1)
    return old, await lease_of(database)


async def test_an_approval_has_one_operation_whoever_opens_it(database: Database) -> None:
    found = await asyncio.gather(*(opened(database, id=f"op-{number}") for number in range(4)))
    assert len({operation.id for operation in found}) == 1
    async with database.connection() as connection:
        assert len(await list_operations(connection, incident="i")) == 1
        assert await list_operations(connection, incident="other") == []


async def test_who_opens_the_same_operation_at_the_same_moment_gets_it(database: Database) -> None:
    for number in range(40):
        found = await asyncio.gather(*(opened(database, id=f"op-{number}", approval=f"a-{number}") for _ in range(4)))
        assert {operation.id for operation in found} == {f"op-{number}"}


async def test_a_target_has_one_holder(database: Database) -> None:
    found = await asyncio.gather(*(taken(database, holder=str(number)) for number in range(4)))
    assert len([lease for lease in found if isinstance(lease, Lease)]) == 1
    held = next(lease for lease in found if isinstance(lease, LeaseHeld))
    assert held.operation == "op"
    assert 59 < held.seconds <= 60
    assert isinstance(await taken(database, target="another"), Lease)


async def test_tokens_only_grow(database: Database) -> None:
    tokens = [(await lease_of(database, seconds=-1)).token for _ in range(5)]
    assert tokens == sorted(set(tokens))


async def test_a_lease_can_be_renewed_until_it_has_run_out(database: Database) -> None:
    old, new = await overtaken(database)
    async with database.connection() as connection:
        assert await renew_lease(connection, new, seconds=60)
        assert not await renew_lease(connection, old, seconds=60)
        await release_lease(connection, old)
        assert await renew_lease(connection, new, seconds=60)
        await release_lease(connection, new)
        assert not await renew_lease(connection, new, seconds=60)


@pytest.mark.parametrize("write", ["start", "finish", "defer"])
async def test_an_older_token_writes_nothing_once_a_newer_one_has_begun(database: Database, write: str) -> None:
    await opened(database)
    old, new = await overtaken(database)
    async with database.connection() as connection:
        assert await start_operation(connection, "op", old, attempt=1, at=NOW, before="")
        assert await start_operation(connection, "op", new, attempt=1, at=NOW, before="s")
        if write == "start":
            written = await start_operation(connection, "op", old, attempt=2, at=NOW, before="")
        elif write == "finish":
            written = await finish_operation(
                connection, "op", old, state=OperationState.FAILED, outcome=Outcome.FAILED, at=NOW, error="late"
            )
        else:
            written = await defer_operation(connection, "op", old, state=OperationState.PENDING, awaits="x", error="late")
        assert not written
        operation = await get_operation(connection, "a")
    assert operation is not None
    assert (operation.state, operation.token, operation.before, operation.error) == (OperationState.RUNNING, new.token, "s", "")
    assert operation.first_token == old.token


async def test_an_end_is_an_end(database: Database) -> None:
    await opened(database)
    lease = await lease_of(database)
    async with database.connection() as connection:
        assert await finish_operation(connection, "op", lease, state=OperationState.UNKNOWN, outcome=Outcome.UNKNOWN, at=NOW)
        assert not await finish_operation(connection, "op", lease, state=OperationState.FAILED, outcome=Outcome.FAILED, at=NOW)
        assert not await start_operation(connection, "op", lease, attempt=2, at=NOW, before="")
        assert not await defer_operation(connection, "op", lease, state=OperationState.PENDING, awaits="x", error="")
        operation = await get_operation(connection, "a")
    assert operation is not None
    assert operation.ended
    assert operation.outcome is Outcome.UNKNOWN
