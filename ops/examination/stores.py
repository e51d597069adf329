"""Redis and Postgres as they are now: reachable, of the right kind, up to date, and kept up with."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

from bus.connect import Bus, connect
from bus.dead import letters
from bus.errors import BusError, WrongEvictionPolicy
from bus.inspect import StreamRow, streams
from ops.errors import PartitionsChanged
from ops.examination.finding import Finding, failed, fine, note, warning, wrong
from ops.partitions import NAME, refuse_other
from ops.runtime import RunFile
from ops.wiring import topology
from sql import installation, switch
from sql.database import Database
from sql.errors import InvalidAddress, StoreError
from sql.migrate import migrations

_LATE = 120.0  # seconds
_OLDEST_POSTGRES = 14
_OWN = "it is started again within seconds by the `mend up` that it belongs to; if not, the log beside its data says why"


async def of_redis(run: RunFile, *, own: bool) -> AsyncIterator[Finding]:
    """The server and its settings, then the groups and what has died."""
    try:
        bus = await connect(run.redis.reveal(), partitions=run.partitions, cluster=run.cluster, name="doctor", timeout=3.0)
    except WrongEvictionPolicy as error:
        yield failed("redis", error, "run `CONFIG SET maxmemory-policy noeviction` and write it into redis.conf")
        return
    except BusError as error:
        yield failed("redis", error, _OWN if own else "start it, or correct redis.url")
        return
    try:
        partitions = f"{run.partitions} partition{'s' if run.partitions > 1 else ''}"
        yield fine("redis", f"{run.redis}, version {await bus.server_version()}, {partitions}, noeviction")
        for finding in of_groups(await streams(bus)):
            yield finding
        yield await _of_dead(bus)
    except BusError as error:
        yield failed("redis", error, "see the server's log")
    finally:
        await bus.close()


def of_groups(rows: Sequence[StreamRow]) -> list[Finding]:
    """Groups that are missing, those that nobody reads for, and those that are behind."""
    found = []
    there = {(row.topic, group.name) for row in rows for group in row.groups}
    missing = sorted({group for group, topics in topology().items() for topic in topics if (topic, group) not in there})
    if missing:
        told = f"no process of {', '.join(missing)} has ever read here"
        found.append(warning("groups", told, "start `mend up`; nothing is trimmed until each group is there"))
    for row in rows:
        for group in row.groups:
            if group.lag > 0 and group.consumers == 0:
                told = f"{group.lag} entries of {row.topic} wait for {group.name}, and no process of it reads there"
                found.append(wrong("groups", told, f"start `mend up`, or `mend up --stage {group.name}`"))
            elif group.oldest > _LATE:
                told = f"{group.name} is {group.oldest:.0f} s behind on {row.topic}: {group.lag} to read, {group.pending} in hand"
                found.append(warning("groups", told, f"see the log of {group.name}; is it running?"))
    return found or [fine("groups", f"all {len(topology())} are there and none is behind")]


async def _of_dead(bus: Bus) -> Finding:
    count = len([row async for row in letters(bus)])
    if count:
        return warning("dead letters", f"{count} wait to be looked at", "mend dead ls")
    return fine("dead letters", "none")


async def of_postgres(run: RunFile, *, own: bool) -> AsyncIterator[Finding]:
    """The server's version and whether the database has this version's tables."""
    try:
        database = Database(run.postgres.reveal(), name="mend-doctor", size=1, wait=3.0)
    except InvalidAddress as error:
        yield failed("postgres", error, "correct postgres.url")
        return
    try:
        await database.open()
        version = int((await database.fetch("SHOW server_version_num"))[0][0]) // 10000
        if version < _OLDEST_POSTGRES:
            yield wrong("postgres", f"version {version} is too old", f"use Postgres {_OLDEST_POSTGRES} or later")
            return
        yield fine("postgres", f"{run.postgres}, version {version}")
        yield await _of_migrations(database)
        if stopped := await _of_switch(database):
            yield stopped
        if wrong_partitions := await _of_partitions(database, run):
            yield wrong_partitions
    except (StoreError, OSError) as error:
        yield failed("postgres", error, _OWN if own else "start it, or correct postgres.url")
    except Exception as error:  # noqa: BLE001 - the driver has many ways to say that this is not our database
        yield failed("postgres", error, _OWN if own else "check the user, the password and the database in postgres.url")
    finally:
        await database.close()


async def _of_partitions(database: Database, run: RunFile) -> Finding | None:
    if not await database.fetch("SELECT 1 FROM information_schema.tables WHERE table_name = 'installation'"):
        return None
    async with database.connection() as connection:
        known = await installation.get(connection, NAME)
    try:
        refuse_other(known, run.partitions)
    except PartitionsChanged as error:
        return failed("partitions", error, f"set redis.partitions to {known}")
    return None


async def _of_switch(database: Database) -> Finding | None:
    if not await database.fetch("SELECT 1 FROM information_schema.tables WHERE table_name = 'stop_switch'"):
        return None
    async with database.connection() as connection:
        state = await switch.state(connection)
    return warning("stop switch", state.said, "mend resume, once it may go on") if state.stopped else None


async def _of_migrations(database: Database) -> Finding:
    if not await database.fetch("SELECT 1 FROM information_schema.tables WHERE table_name = 'schema_migrations'"):
        return note("migrations", "the database is empty", "mend migrate, or start `mend up`")
    known = {row["name"]: row["checksum"] for row in await database.fetch("SELECT name, checksum FROM schema_migrations")}
    ours = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in migrations()}
    changed = sorted(name for name, checksum in ours.items() if known.get(name, checksum) != checksum)
    if changed:
        return wrong("migrations", f"{changed[0]} has changed since it was applied", "restore the file, or start a new database")
    if newer := sorted(set(known) - set(ours)):
        return wrong("migrations", f"the database has {newer[-1]}, which this version does not know", "upgrade Mendstream")
    if lacking := sorted(set(ours) - set(known)):
        return warning("migrations", f"{len(lacking)} are not applied yet", "mend migrate, or start `mend up`")
    return fine("migrations", f"all {len(ours)} are applied")
