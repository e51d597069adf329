"""The whole examination, in the order in which a thing rests on another."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ops.errors import NotRunning
from ops.examination import machine, outside, stores, world
from ops.examination.finding import Finding
from ops.runtime import RunFile, find_running, running
from ops.settings import Loaded
from ops.stores import run_file


async def examine(loaded: Loaded) -> AsyncIterator[Finding]:
    """Every finding, as it is found. Nothing is changed."""
    settings = loaded.settings
    for finding in (*machine.of_settings(loaded), *machine.of_folder(settings), machine.of_api(settings), *machine.of_embedded(settings)):
        yield finding
    run, reason = _stores(loaded)
    if run is None:
        yield world.nothing_to_examine(reason)
    if settings.redis.url or run is not None:
        async for finding in stores.of_redis(run or run_file(settings), own=not settings.redis.url):
            yield finding
    if settings.postgres.url or run is not None:
        async for finding in stores.of_postgres(run or run_file(settings), own=not settings.postgres.url):
            yield finding
    here = running(settings.data.path)
    async for finding in world.of_clusters(settings, here.sandbox if here else ""):
        yield finding
    async for finding in world.of_hosts(settings):
        yield finding
    async for finding in outside.of_outside(settings, sandbox=bool(here and here.sandbox)):
        yield finding


def _stores(loaded: Loaded) -> tuple[RunFile | None, str]:
    settings = loaded.settings
    if settings.redis.url and settings.postgres.url:
        return run_file(settings), ""
    try:
        return find_running(settings.data.path), ""
    except NotRunning as error:
        return None, str(error)
