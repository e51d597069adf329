"""One executor or verifier that kills itself: `python -m tests.chaos.execute_process STAGE POSTGRES WORLD POINT FAULT LATER < event`.

STAGE is `execute` or `verify`, WORLD the URL of a cluster, or the options of the host `web-1` as JSON. POINT is where it dies by
SIGKILL: `CALL-before` or `CALL-after` of a call to the world, `commit-N-before` or `commit-N-after` of its N-th transaction (of
execute: 1 the claim, 2 `running`, 3 the record; of verify: 1 the record). FAULT is how the world answers: `none`, `refused`
(nothing is done) or `untold` (done, but nobody can say so). LATER is by how many seconds its clock is ahead. Production code has no
hook for this: the world and the store are wrapped.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from adapters.errors import OutcomeUnknown, Refused
from adapters.kubernetes import connect
from adapters.ports import Applied, World
from adapters.worlds import Worlds
from bus.handler import Context, Stage
from schemas.action import Action
from schemas.codec import decode
from sql.database import Connection, Database
from stages.execute.options import ExecuteOptions
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.integration.healing import CLUSTER, Unsteady, executor

LEASE = 1.0
HOLD = VerifyOptions(settle=0.0, interval=0.1, limit=30.0, hold_down=0.5)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingDatabase(Database):
    """Dies before or after the commit of one of its transactions."""

    point = ""
    transactions = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        self.transactions += 1
        number = self.transactions
        async with super().transaction() as connection:
            yield connection
            if self.point == f"commit-{number}-before":
                die()
        if self.point == f"commit-{number}-after":
            die()


class DyingWorld(Unsteady):
    """Dies before or after one of its calls."""

    def __init__(self, world: World, point: str, fault: str) -> None:
        super().__init__(world)
        self._point = point
        self._fault = fault

    async def _through(self, call: str, work: Any) -> Any:
        if self._point == f"{call}-before":
            die()
        result = await work()
        if self._point == f"{call}-after":
            die()
        return result

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        if self._fault == "refused":
            raise Refused("blocked by an admission webhook")
        applied = await super().apply(action, operation=operation, token=token, uid=uid)
        if self._fault == "untold":
            raise OutcomeUnknown("the connection broke")
        return applied

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        return None if self._fault == "untold" else await super().find(action, operation=operation, uid=uid, token=token)


async def the_world(where: str) -> Worlds:
    """The cluster at a URL, or the one host of these options."""
    if where.startswith("{"):
        from adapters.ssh.options import HostOptions
        from adapters.ssh.world import HostsWorld

        host = HostsWorld({"web-1": msgspec.json.decode(where, type=HostOptions)}, clock=lambda: datetime.now(UTC))
        return Worlds(clusters={}, groups={"hosts": host})
    return Worlds(clusters={CLUSTER: await connect(server=where)}, groups={})


async def main(name: str, postgres: str, where: str, point: str, fault: str, later: str) -> None:
    ahead = timedelta(seconds=float(later))
    event = decode(sys.stdin.buffer.read())
    database = DyingDatabase(postgres)
    database.point = point
    await database.open()
    world = DyingWorld(await the_world(where), point, fault)
    stage: Stage = executor(database, world, ExecuteOptions(lease=LEASE)) if name == "execute" else VerifyStage(database, world, HOLD)
    context = Context(stage=stage.name, by=f"{name}/dying", clock=lambda: datetime.now(UTC) + ahead, input=event)
    await stage.handle(event, context)
    die()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
