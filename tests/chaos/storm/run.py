"""One storm: processes and stores are killed while alerts come in; then it is quiet, and what became of everything is judged."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import names
from bus.connect import Bus, connect
from bus.errors import BusError
from ops.wiring import STAGES
from sql.database import Database
from sql.migrate import migrate
from tests.bench.ground import machine, until
from tests.chaos.storm import traffic
from tests.chaos.storm.cast import LONG_REPLICAS, REPLICAS, SPARED, Cast
from tests.chaos.storm.effects import Effects
from tests.chaos.storm.fate import Blow, blows
from tests.chaos.storm.people import People
from tests.chaos.storm.plane import CLUSTER, Plane
from tests.chaos.storm.pulse import Pulse
from tests.chaos.storm.stores import POSTGRES, REDIS, Stores
from tests.chaos.storm.traffic import Telling
from tests.ports import free_port

_SETTINGS = """
default_cluster = "default"
[redis]
url = "{redis}"
[postgres]
url = "{postgres}"
[data]
folder = "{folder}/data"
[http]
port = {port}
[api]
port = 0
[clusters.default]
server = "http://127.0.0.1:9"
{plane}[log]
level = "warning"
format = "json"
[votes]
key = "{key}"
[ingest]
close_after = 5
[gate]
mode = "auto"
expiry = 30
cooldown = {{ actions = 1000000, seconds = 600 }}
storm = {{ incidents = 1000000, seconds = 600 }}
[execute]
retry_after = 1.0
lease = 6.0
[verify]
settle = 1
interval = 1
limit = 5
hold_down = 1
[failure_watch]
idle = 20
same_cause = 40
[propose]
patience = 5
retry_after = 1
[archive]
trim_period = 20
sweeper = {{ period = 2.0, grace = 6.0, window = 600.0 }}
[bus]
idle_limit = 6.0
transient_limit = 3.0
backoff_limit = 2.0
"""
_PACKAGES = ("redis", "hiredis", "msgspec", "asyncpg", "litestar", "uvicorn")
_SENDERS = 3
_GROUP = 20
_LONG = 300.0  # seconds
_UNHANDLED = 40  # alerts for each entry that is no alert


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a storm is: so many alerts in so many seconds, a blow about `every` seconds, all decided by `seed`.

    `drain` is how many seconds everything gets to come to an end afterwards; `plane` how many Deployments of a control plane take part,
    where there is one.
    """

    seed: int
    seconds: float
    alerts: int
    every: float
    drain: float = 900.0
    plane: int = 3

    @property
    def is_long(self) -> bool:
        """Whether it is long enough to tell growth: in less, a process may still load what it needs, such as a client."""
        return self.seconds >= _LONG


class Storm:
    """A storm under way, and what is known of it."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.chance = random.Random(plan.seed)
        self.stores = Stores(folder)
        self.port = free_port()
        self.effects = Effects(folder / "effects")
        self.killed: dict[str, int] = {}
        self.accepted: list[Telling] = []
        self.garbage = 0
        self.notifications = 0
        self.drained_in = 0.0
        self.is_calm = False
        self.plane: Plane | None = None
        self.ground: list[str] = machine(_PACKAGES)
        self.cast: Cast
        self.pulse: Pulse
        self.people: People
        self.database: Database
        self.redis: Redis
        self.bus: Bus
        self.http: aiohttp.ClientSession
        self.began = 0.0
        self.began_at = datetime.now(UTC)

    @classmethod
    @asynccontextmanager
    async def raised(cls, plan: Plan) -> AsyncIterator[Storm]:
        """Stores and processes, started; all of them have ended after the block."""
        async with contextlib.AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mend-storm-", ignore_cleanup_errors=True)))
            storm = cls(plan, folder)
            for name in ("effects", "logs"):
                (folder / name).mkdir()
            storm.plane = await stack.enter_async_context(Plane.made(plan.plane))
            stack.push_async_callback(storm.stores.stop)
            await storm.stores.start()
            storm.database = await Database(storm.stores.postgres.url, name="storm").open()
            stack.push_async_callback(storm.database.close)
            await migrate(storm.database)
            storm.redis = await stack.enter_async_context(Redis.from_url(storm.stores.redis.url, protocol=2))
            storm.bus = await connect(storm.stores.redis.url, name="storm")
            stack.push_async_callback(storm.bus.close)
            storm.http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)))
            key = secrets.token_hex(32)
            storm.people = People(storm.database, storm.bus, key)
            storm.pulse = Pulse(storm.redis)
            replicas = LONG_REPLICAS if plan.is_long else REPLICAS
            storm.cast = Cast(
                storm._settings(key), folder / "effects", folder / "logs", lambda: storm.chance.uniform(0, 2), replicas, plan.seed
            )
            stack.push_async_callback(storm.cast.leave)
            storm.cast.enter()
            await storm.cast.until_ready(storm.http)
            yield storm

    def _settings(self, key: str) -> Path:
        file = self.folder / "mend.toml"
        plane = f'[clusters.{CLUSTER}]\nkubeconfig = "{self.plane.kubeconfig}"\n' if self.plane is not None else ""
        place = {
            "plane": plane,
            "redis": self.stores.redis.url,
            "postgres": self.stores.postgres.url,
            "folder": self.folder,
            "port": self.port,
        }
        file.write_text(_SETTINGS.format(**place, key=key))
        return file

    async def rage(self) -> None:
        """Alerts and blows, until both are over, and then what comes of them, until nothing is left to do or there is no more time."""
        told = traffic.tellings(random.Random(self.plan.seed), self.plan.alerts, self.plan.seconds)
        if self.plane is not None:
            told = sorted([*told, *self.plane.tellings(random.Random(self.plan.seed), self.plan.seconds)], key=lambda telling: telling.at)
        fate = blows(
            random.Random(self.plan.seed + 1),
            [*(actor.name for actor in self.cast.actors), REDIS, POSTGRES],
            self.plan.seconds,
            self.plan.every,
            spared={name: share * self.plan.seconds for name, share in SPARED.items()} if self.plan.is_long else None,
        )
        self.began, self.began_at = time.monotonic(), datetime.now(UTC)
        async with _beside(self.people.sign(), self.pulse.feel(), self.cast.weigh()):
            async with asyncio.TaskGroup() as together:
                together.create_task(self._tell(told))
                together.create_task(self._litter(len(told) // _UNHANDLED))
                together.create_task(self._strike(fate, together))
            calm = time.monotonic()
            await self._send(_ended(told))
            with suppress(TimeoutError):
                await until(self.is_over, self.plan.drain, every=0.5)
                self.is_calm = True
            self.drained_in = time.monotonic() - calm

    async def _tell(self, told: list[Telling]) -> None:
        """Posts every alert at its time, a few at once, in order as far as several senders keep it."""
        queue: asyncio.Queue[list[Telling] | None] = asyncio.Queue()

        async def send() -> None:
            while (group := await queue.get()) is not None:
                await self._post(group)

        async with asyncio.TaskGroup() as senders:
            for _ in range(_SENDERS):
                senders.create_task(send())
            place = 0
            while place < len(told):
                await self._until(told[place].at)
                size = self.chance.randint(1, _GROUP)
                group = [telling for telling in told[place : place + size] if telling.at <= time.monotonic() - self.began]
                queue.put_nowait(group)
                place += len(group)
            for _ in range(_SENDERS):
                queue.put_nowait(None)

    async def _send(self, told: list[Telling]) -> None:
        for place in range(0, len(told), 50):
            await self._post(told[place : place + 50])

    async def _post(self, group: list[Telling]) -> None:
        """One notification, repeated until it is answered with 200, as Alertmanager does."""
        body = traffic.notification(group, self.began_at)
        while True:
            try:
                async with self.http.post(
                    f"http://127.0.0.1:{self.port}/v1/alertmanager", data=body, headers={"Content-Type": "application/json"}
                ) as answer:
                    if answer.status == 200:
                        self.accepted += group
                        self.notifications += 1
                        return
                    if answer.status < 500 and answer.status != 429:
                        raise AssertionError(f"a notification was answered with {answer.status}: {await answer.text()}")
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.3)

    async def _litter(self, count: int) -> None:
        """Appends what is no alert, spread over the storm; what a Redis that is away did not take is left out."""
        chance = random.Random(self.plan.seed + 2)
        for number in range(count):
            await self._until(self.plan.seconds * number / count)
            topic, fields = traffic.garbage(chance)
            with suppress(RedisError, OSError):
                await self.redis.xadd(names.stream(0, topic), fields)  # type: ignore[arg-type]
                self.garbage += 1

    async def _strike(self, fate: list[Blow], together: asyncio.TaskGroup) -> None:
        actors = {actor.name: actor for actor in self.cast.actors}
        for blow in fate:
            await self._until(blow.at)
            actor = actors.get(blow.victim)
            if actor is None:
                together.create_task(self._strike_store(blow.victim))
            elif actor.kill():
                self.killed[actor.stage] = self.killed.get(actor.stage, 0) + 1
                self.pulse.struck(actor.stage, (actor.stage,))

    async def _strike_store(self, name: str) -> None:
        self.pulse.struck(name, STAGES)
        await self.stores.kill(name)
        self.killed[name] = self.killed.get(name, 0) + 1
        await asyncio.sleep(self.chance.uniform(0, 3))
        await self.stores.revive(name)

    async def is_over(self) -> bool:
        """Whether nothing is left to be done by anybody."""
        try:
            if not await self.pulse.is_quiet() or await self.redis.zcard(names.delayed(0)):
                return False
            rows = await self.database.fetch(_OPEN)
        except (RedisError, OSError, BusError):
            return False
        return not any(rows[0].values())

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, self.began + at - time.monotonic()))


_OPEN = """
SELECT (SELECT count(*) FROM incidents WHERE state <> 'CLOSED') AS incidents,
       (SELECT count(*) FROM approvals WHERE state = 'waiting') AS approvals,
       (SELECT count(*) FROM operations WHERE state IN ('pending', 'running')) AS operations,
       (SELECT count(*) FROM verifications WHERE awaits <> '') AS verifications,
       (SELECT count(*) FROM outbox WHERE NOT settled) AS outbox
"""
"""What has not come to its end yet."""


def _ended(told: list[Telling]) -> list[Telling]:
    """The end of every alert, as Alertmanager tells it in the end."""
    last = {telling.fingerprint: telling for telling in told}
    return [msgspec.structs.replace(telling, ends=telling.ends or telling.starts + 3000.0) for telling in last.values()]


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs these until the end of the block; raises what one of them raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        await until_ended(tasks)


async def until_ended(tasks: Iterable[asyncio.Task[None]], *, patience: float = 2.0) -> None:
    """Cancels these until they have ended, for a client in between may lose a cancellation; raises what one of them raised."""
    left = set(tasks)
    done: set[asyncio.Task[None]] = set()
    while left:
        for task in left:
            task.cancel()
        now, left = await asyncio.wait(left, timeout=patience)
        done |= now
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
