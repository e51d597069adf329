"""`mend up`: finds or starts the stores, builds the chosen stages and runs them as tasks of one process until it is told to stop.

The stages of one process are joined only by Redis all the same: what runs here together runs as well in seven processes.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import sys
from contextlib import AsyncExitStack
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from ops.clock import now
from ops.clusters import cluster_names, default_cluster, open_worlds, require_files_of_hosts, require_something_to_heal
from ops.errors import NoCluster, SettingsWrong, StoppedEarly
from ops.logging import configure_logging, hide_secrets
from ops.partitions import require_partitions
from ops.policy import policy_of
from ops.process import AtOnce, Health, HealthPort, run_process, spare_collector
from ops.runtime import votes_key
from ops.settings import Loaded, Settings, secrets_in
from ops.stores import Place, find_place, open_bus, open_database, require_addresses
from ops.tasks import Tasks, unless_stopped
from ops.wiring import (
    API,
    ARCHIVE,
    NEEDS_METRICS,
    NEEDS_WORLD,
    PROCESSES,
    Parts,
    asks_model,
    groups_of_topics,
    make_stage,
    open_channels,
    open_metrics,
    open_model,
    stages_named,
    votes_keys,
)
from schemas.words import Mode

if TYPE_CHECKING:
    import socket

    from prometheus_client import CollectorRegistry

    from adapters.model.client import ModelClient
    from adapters.ports import Channel
    from adapters.worlds import Worlds
    from bus.connect import Bus
    from bus.loop import StageLoop
    from ops.group_watch import GroupWatch
    from ops.owners import LateOwners
    from ops.watch import StoreWatch
    from sql.database import Database

_log = logging.getLogger("mend.up")


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line chose. `embed` says that stores that the settings do not name may be started."""

    stages: tuple[str, ...] = ()
    mode: str = ""
    sandbox: bool = False
    port: int | None = None
    embed: bool = True


def run_up(loaded: Loaded, choices: Choices) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code. Raises SettingsWrong, OpsError and the errors of the stores."""
    settings = chosen(loaded.settings, choices)
    stages_named(choices.stages)
    hide_secrets(secrets_in(settings))
    configure_logging(settings.log)

    async def work(stop: asyncio.Event, at_once: AtOnce) -> None:
        async with AsyncExitStack() as stack:
            await Machine(settings, choices, stack, stop=stop, at_once=at_once).run()

    try:
        return run_process(work)
    except StoppedEarly as early:
        _log.info("%s", early)
        return 0


def run_one(loaded: Loaded, name: str) -> int:
    """Runs one stage as this process, against the stores of the settings or of a `mend up` that runs on this machine."""
    return run_up(loaded, Choices(stages=(name,), embed=False))


def chosen(settings: Settings, choices: Choices) -> Settings:
    """The settings with what the command line chose instead. Raises SettingsWrong."""
    if choices.mode:
        if choices.mode not in list(Mode):
            raise SettingsWrong([f"--mode: expected one of {', '.join(Mode)}, not {choices.mode!r}"])
        settings = msgspec.structs.replace(settings, gate=msgspec.structs.replace(settings.gate, mode=Mode(choices.mode)))
    if choices.port is not None:
        settings = msgspec.structs.replace(settings, http=msgspec.structs.replace(settings.http, port=choices.port))
    return settings


class Machine:
    """The parts of one process, built in order and ended in the opposite one by `stack`; the API ends first, the stages next."""

    def __init__(self, settings: Settings, choices: Choices, stack: AsyncExitStack, *, stop: asyncio.Event, at_once: AtOnce) -> None:
        self.settings = settings
        self.choices = choices
        self.stages = stages_named(choices.stages)
        self.stack = stack
        self.stop = stop
        self.at_once = at_once
        self.health = Health()
        self.tasks = Tasks(stop)
        self.loops: list[StageLoop] = []
        self.store_watch: StoreWatch | None = None
        self.model: ModelClient | None = None
        self.group_watch: GroupWatch | None = None

    async def run(self) -> None:
        """Builds everything, says where it is, runs it until `stop`. Raises StageCrashed when a stage ends by itself."""
        self._require()
        place = await self.stack.enter_async_context(
            find_place(self.settings, whole=not self.choices.stages, embed=self.choices.embed, at_once=self.at_once)
        )
        listener, desk = self._listen(place), self._listen_for_people(place)
        name = self.stages[0] if len(self.stages) == 1 else "up"
        size = max(self.settings.postgres.pool, len(self.stages) + 2)
        database = await self.stack.enter_async_context(open_database(place.run, size=size, name=name, stop=self.stop))
        await require_partitions(database, place.run.partitions)
        bus = await self.stack.enter_async_context(open_bus(place.run, name=name, stop=self.stop))
        sandbox = await self._sandbox(place)
        parts = await self.parts(database, sandbox)
        self.stack.push_async_callback(self.tasks.end)
        self._start_watching(database, place)
        self._start_loops(bus, parts)
        api = self._start_api(bus, listener) if listener else ""
        rest = self._start_rest(bus, parts, desk) if desk else ""
        self._open_health_port()
        place.tell(api=api, rest=rest, stages=self.stages, sandbox=sandbox)
        self._announce(api, rest, sandbox)
        beat = asyncio.create_task(self.health.beat(lambda: self._waiting_for() or self._store_away(), self._stopped), name="beat")
        self.stack.callback(beat.cancel)
        spare_collector()
        await self.tasks.until_stopped()

    def _require(self) -> None:
        """What can be said to be wrong before anything is started.

        Raises UnguardedAddress, NoCluster, SettingsWrong, and the InvalidAddress of a store.
        """
        from ops.api.guard import Guard, require_guard

        require_addresses(self.settings)
        if "gate" in self.stages:
            policy_of(self.settings)
        if "ingest" in self.stages:
            require_guard(Guard.of(self.settings.http), self.settings.http.host)
        if not self.choices.stages and not self.choices.sandbox:
            require_something_to_heal(self.settings)
        if NEEDS_WORLD & set(self.stages) and not self.choices.sandbox:
            require_files_of_hosts(self.settings)

    async def _sandbox(self, place: Place) -> str:
        """The URL of the sandbox cluster, started where that was chosen, or that of the `mend up` that was joined."""
        if not self.choices.sandbox:
            return place.run.sandbox
        from ops.sandbox import Sandbox

        sandbox = await self.stack.enter_async_context(Sandbox())
        sandbox.cluster.settle_in()
        return sandbox.url

    async def parts(self, database: Database, sandbox: str) -> Parts:
        """What the stages of this process share, opened; the stack closes it."""
        worlds, owners = await self._worlds(sandbox)
        metrics = None
        if NEEDS_METRICS & set(self.stages):
            metrics = open_metrics(self.settings, sandbox=bool(sandbox), baseline="verify" in self.stages)
        if metrics is not None:
            self.stack.push_async_callback(metrics.close)
        self.model = open_model(self.settings) if asks_model(self.settings, self.stages) else None
        if self.model is not None:
            self.stack.push_async_callback(self.model.close)
        key = votes_key(self.settings.votes.key, self.settings.data.path)
        hide_secrets([*secrets_in(self.settings), key])
        return Parts(
            settings=self.settings,
            database=database,
            votes_key=key,
            worlds=worlds,
            owners=owners,
            channels=self._channels(),
            metrics=metrics,
            model=self.model,
        )

    async def _worlds(self, sandbox: str) -> tuple[Worlds | None, LateOwners | None]:
        """The worlds, where a stage of this process needs them. A process that only takes alerts starts without, and asks later."""
        from adapters.errors import WrongSettings
        from ops.owners import LateOwners

        needed = NEEDS_WORLD & set(self.stages)
        if not needed:
            return None, None
        try:
            worlds = await unless_stopped(self.stop, open_worlds(self.settings, sandbox=sandbox), "the clusters")
        except (NoCluster, WrongSettings) as error:
            if needed != {"ingest"}:
                raise
            _log.warning("alerts are taken, and a pod's name has to tell its workload: %s", error)
            owners = LateOwners(lambda: open_worlds(self.settings, sandbox=sandbox))
            self.stack.push_async_callback(owners.close)
            return None, owners
        self.stack.push_async_callback(worlds.close)
        return worlds, None

    def _channels(self) -> tuple[Channel, ...]:
        channels = open_channels(self.settings) if "notify" in self.stages else ()
        for channel in channels:
            self.stack.push_async_callback(channel.close)
        return channels

    def _start_loops(self, bus: Bus, parts: Parts) -> None:
        from bus.loop import StageLoop
        from sql.errors import StoreUnavailable

        for name in self.stages:
            if name == API:
                continue
            if name == ARCHIVE:
                self._start_archive(bus, parts)
                continue
            if name == "failure_watch":
                self._start_group_watch(bus, parts)
            loop = StageLoop(bus, make_stage(name, parts), self.settings.bus, parts.clock, (StoreUnavailable,))
            self.loops.append(loop)
            self.tasks.start(name, loop.run(self.stop))

    def _start_group_watch(self, bus: Bus, parts: Parts) -> None:
        from ops.group_watch import group_watch

        self.group_watch = group_watch(bus, parts)
        self.tasks.start("group-watch", self.group_watch.run(self.stop))

    def _start_archive(self, bus: Bus, parts: Parts) -> None:
        from ops.archive import Archive

        archive = Archive(bus, parts.database, groups_of_topics(), self.settings.archive, self.settings.bus, clock=parts.clock)
        self.loops.append(archive.loop)
        self.tasks.start(ARCHIVE, archive.loop.run(self.stop))
        self.tasks.start("sweeper", archive.sweeper.run(self.stop))
        self.tasks.start("housekeeping", archive.keep_house(self.stop))

    def _listen(self, place: Place) -> socket.socket | None:
        """The address of the API, bound before anything can act. Raises PortTaken.

        None without ingest, and where the `mend up` that this process has joined listens there: then it only shares its work.
        """
        if "ingest" not in self.stages:
            return None
        from ops.api.server import bind, is_at

        if place.folder is None and is_at(place.run.api, self.settings.http.port):
            _log.info("alerts come in at %s, by the `mend up` that this one has joined", place.run.api)
            return None
        listener = bind(self.settings.http.host, self.settings.http.port)
        self.stack.callback(listener.close)
        return listener

    def _listen_for_people(self, place: Place) -> socket.socket | None:
        """The address of the API for people, as `_listen` does for alerts. Raises PortTaken."""
        if API not in self.stages:
            return None
        from ops.api.server import bind, is_at

        if place.folder is None and is_at(place.run.rest, self.settings.api.port):
            _log.info("people ask at %s, by the `mend up` that this one has joined: nothing is left to do here", place.run.rest)
            return None
        listener = bind(self.settings.api.host, self.settings.api.port, "api")
        self.stack.callback(listener.close)
        return listener

    def _start_watching(self, database: Database, place: Place) -> None:
        """Watches Postgres, and starts the embedded servers again when they end."""
        from ops.watch import StoreWatch

        self.store_watch = StoreWatch(database)
        self.tasks.start("store-watch", self.store_watch.run(self.stop))
        for server in place.servers:
            self.tasks.start(f"embedded-{server.name}", server.keep(self.stop))

    def _start_api(self, bus: Bus, listener: socket.socket) -> str:
        """Serves the API as a task; returns its URL."""
        from ops.api.application import build_api
        from ops.api.guard import Guard
        from ops.api.server import serve, url_of

        application = build_api(
            bus,
            guard=Guard.of(self.settings.http),
            clock=now,
            by=f"ingest/{platform.node() or 'host'}",
            default_cluster=default_cluster(self.settings),
            options=self.settings.ingest,
            waiting_for=self._waiting_for,
            warning=lambda: self._store_away() or self._stopped(),
            metrics=self._scrape,
        )
        self.tasks.start("api", serve(application, listener, self.stop))
        return url_of(listener)

    def _start_rest(self, bus: Bus, parts: Parts, listener: socket.socket) -> str:
        """Serves the API for people as a task; returns its URL."""
        from ops.api.rest import build_rest
        from ops.api.server import serve, url_of

        application = build_rest(
            bus,
            parts.database,
            self.settings,
            keys=votes_keys(parts),
            by=f"api/{platform.node() or 'host'}",
            clock=parts.clock,
            stop=self.stop,
            waiting_for=self._store_away,
            warning=self._stopped,
        )
        self.tasks.start("rest", serve(application, listener, self.stop, name="rest-server"))
        return url_of(listener)

    def _open_health_port(self) -> None:
        if self.settings.metrics.port == 0:
            return
        port = HealthPort(self.settings.metrics.host, self.settings.metrics.port, self.health, self._registry)
        self.stack.callback(port.start().stop)

    @cached_property
    def _registry(self) -> CollectorRegistry:
        """All metrics of this process."""
        from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

        from bus.metrics import BusCollector

        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        registry.register(BusCollector(self.loops))
        if self.group_watch is not None:
            registry.register(self.group_watch.heartbeat)
        if self.model is not None:
            from adapters.model.metrics import ModelCollector

            registry.register(ModelCollector(self.model.meter))
        return registry

    def _scrape(self) -> bytes:
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def _announce(self, api: str, rest: str, sandbox: str) -> None:
        clusters = ", ".join(cluster_names(self.settings, sandbox=bool(sandbox))) or "none"
        _log.info("up: stages %s, mode %s, clusters %s", ", ".join(self.stages), self.settings.gate.mode, clusters)
        if self.stages == PROCESSES:
            server = _WELCOME_SANDBOX.format(sandbox=sandbox) if sandbox else ""
            sys.stdout.write(_WELCOME.format(mode=self.settings.gate.mode.value, clusters=clusters, api=api, rest=rest, server=server))
            sys.stdout.flush()

    def _store_away(self) -> str:
        """Why Postgres is away, or an empty text: alerts are taken all the same, and nothing is done about them meanwhile."""
        return self.store_watch.reason if self.store_watch else ""

    def _stopped(self) -> str:
        """Who has stopped everything, or an empty text."""
        return self.store_watch.stopped if self.store_watch else ""

    def _waiting_for(self) -> str:
        """Why the process is not ready, or an empty text."""
        return next((status.reason or "starting" for loop in self.loops if not (status := loop.status).ready), "")


_WELCOME_SANDBOX = """
  sandbox    {sandbox}, where Deployment default/hello is well (kubectl --server {sandbox} get pods -A)"""
_WELCOME = """\
Mendstream is up. Mode {mode}, clusters {clusters}.
  alerts     {api}/v1/alertmanager{server}
  people     {rest}/openapi.json, with a token of `mend people add NAME --role ROLE`
  look       mend incidents ls · mend approvals ls · mend streams ls
  stop       Ctrl-C
"""
