"""One `mend up` for all scenarios, and what becomes of the alerts that are posted to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from adapters.ssh.options import HostOptions
from bus.connect import connect
from ops.demo.feed import Feed
from ops.demo.payloads import webhook
from ops.demo.pipeline import PEOPLE, DemoFailed, Pipeline
from schemas import events as e
from schemas.action import BaseAction, describe
from schemas.event import Event
from schemas.target import Kind, Target
from schemas.words import Outcome, Verdict
from tests.patience import PATIENCE
from tests.scenarios.witness import NOTHING, Expected

E = TypeVar("E", bound=Event)
A = TypeVar("A", bound=BaseAction)
_LABELS = {Kind.JOB: "job_name"}
SETTINGS = """
[ingest]
close_after = 0.5

[gate]
mode = "auto"
cooldown = {{ actions = 1000, seconds = 600.0 }}
storm = {{ incidents = 1000, seconds = 600.0 }}
namespaces = {{ "{shadow}" = "shadow" }}

[execute]
retry_after = 2.0

[verify]
settle = 2.0
interval = 1.0
limit = 45.0
hold_down = 12.0

[clusters.default]
kubeconfig = "{admin}"

[clusters.limited]
kubeconfig = "{limited}"
"""


class Mendstream:
    """The running process, and everything that flows in it."""

    def __init__(self, pipeline: Pipeline, feed: Feed) -> None:
        self.pipeline = pipeline
        self.feed = feed
        self._hands = asyncio.Semaphore(2)  # people are processes here, and the machine is small

    async def fire(self, alert: str, target: Target, *, severity: str = "info", label: str = "", **labels: str) -> Story:
        """Posts an alert as Alertmanager does; returns when an incident has it. `label` names the target, else that of its kind."""
        place = {"namespace": target.namespace} if target.namespace else {}
        named = {
            "alertname": alert,
            "cluster": "default",
            "severity": severity,
            **place,
            label or _LABELS.get(target.kind, target.kind.lower()): target.name,
            **labels,
        }
        story = Story(self, named, target)
        await self.pipeline.post(webhook(named, f"{alert}: {target}", starts_at=story.began))
        story.incident = (await self._incident(alert, target)).incident
        return story

    async def _incident(self, alert: str, target: Target) -> Event:
        def holds(event: Event) -> bool:
            if not isinstance(event, e.IncidentOpened | e.IncidentUpdated) or event.alert != alert:
                return False
            return (event.target.namespace, event.target.name) == (target.namespace, target.name)

        return await self.feed.until(Event, holds, f"an incident for {alert} about {target}", seconds=PATIENCE)

    async def vote(self, verb: str, approval: str, person: str, *options: str) -> str:
        """A person signs or rejects, or does something else with an approval, at a terminal."""
        async with self._hands:
            return await self.pipeline.mend("approvals", verb, approval, "--as", person, *options, token=self.pipeline.tokens[person])


class Story:
    """What becomes of one alert. `began` is when it was posted.

    `expected` is what may be done because of it, also where the scenario breaks off, and `heals` whether that is to heal.
    """

    def __init__(self, mendstream: Mendstream, labels: dict[str, str], target: Target) -> None:
        self._mendstream = mendstream
        self._labels = labels
        self._clock = time.monotonic()
        self.target = target
        self.began = datetime.now(UTC)
        self.incident = ""
        self.expected: Expected = NOTHING
        self.heals = False

    @property
    def seconds(self) -> float:
        """Since the alert was posted."""
        return time.monotonic() - self._clock

    @property
    def called_healed(self) -> bool:
        """Whether any verification said success."""
        return any(verified.verdict is Verdict.SUCCESS for verified in self.told(e.VerificationFinished))

    async def until(self, kind: type[E], *, seconds: float = PATIENCE) -> E:
        """The first event of a kind in this incident."""
        what = f"{kind.__name__} about {self.target}"
        return await self._mendstream.feed.until(kind, lambda event: event.incident == self.incident, what, seconds=seconds)

    async def nth(self, kind: type[E], number: int) -> E:
        """The event that is the `number`th of its kind in this incident, counted from 1."""
        await self._mendstream.feed.until(kind, lambda _: len(self.told(kind)) >= number, f"{kind.__name__} {number}", seconds=PATIENCE)
        return self.told(kind)[number - 1]

    def count_done(self) -> int:
        """How many executions have ended."""
        return len(self.told(e.ExecutionFinished))

    def told(self, kind: type[E]) -> list[E]:
        """All events of a kind so far."""
        return [event for event in self._mendstream.feed.events(self.incident) if isinstance(event, kind)]

    async def proposed(self, kind: type[A]) -> A:
        """The first action that is proposed. Raises AssertionError for another kind of action."""
        first = await self.until(e.ActionProposed)
        assert isinstance(first.action, kind), f"{describe(first.action)} was proposed, not {kind.__name__}: {' '.join(first.reasons)}"
        return first.action

    async def requested(self, signatures: int) -> e.ApprovalRequested:
        """The request for signatures, and so many of them."""
        requested = await self.until(e.ApprovalRequested)
        if requested.signatures != signatures:
            raise AssertionError(f"{requested.signatures} signatures were asked for where {signatures} should be ({requested.rule})")
        return requested

    async def sign(self, requested: e.ApprovalRequested) -> None:
        """As many different people sign as must."""
        for person in PEOPLE[: requested.signatures]:
            await self._mendstream.vote("sign", requested.approval, person)

    async def reject(self, requested: e.ApprovalRequested) -> None:
        await self._mendstream.vote("reject", requested.approval, PEOPLE[0])

    async def undo(self, approval: str, *, by: str) -> str:
        """A person proposes the way back of what was done; the approval that now waits for another one."""
        answer = msgspec.json.decode(await self._mendstream.vote("undo", approval, by, "--json"))
        assert answer["approval"], answer
        return str(answer["approval"])

    async def vote(self, approval: str, *, by: str) -> str:
        """What the command answers to one person's signature, counted or not."""
        try:
            return await self._mendstream.vote("sign", approval, by)
        except DemoFailed as refused:
            return str(refused)

    async def ran(self, approval: str) -> None:
        """The action of this approval was done."""
        finished = await self._mendstream.feed.until(
            e.ExecutionFinished, lambda event: event.approval == approval, f"the end of approval {approval}", seconds=PATIENCE
        )
        assert finished.outcome is Outcome.SUCCEEDED, finished.error

    async def resolve(self) -> e.IncidentResolved:
        """Alertmanager tells that it is over."""
        ended = webhook(self._labels, "over", starts_at=self.began, ends_at=datetime.now(UTC))
        await self._mendstream.pipeline.post(ended)
        return await self.until(e.IncidentResolved)


def _host_settings(name: str, options: HostOptions) -> str:
    keys = ("address", "port", "user", "private_key_file", "known_hosts", "marks", "docker_root", "restart_timeout")
    return "\n".join([f"[hosts.{name}]", *(f"{key} = {msgspec.json.encode(getattr(options, key)).decode()}" for key in keys), "\n"])


@asynccontextmanager
async def running(folder: Path, kubeconfig: str, *, shadow: str, hosts: Mapping[str, HostOptions]) -> AsyncIterator[Mendstream]:
    """A real `mend up` in a folder of its own, with the control plane's administrator and its limited user as two clusters."""
    limited = Path(kubeconfig).parent / "limited.kubeconfig"
    settings = SETTINGS.format(admin=kubeconfig, limited=limited, shadow=shadow)
    pipeline = Pipeline(folder, settings + "".join(_host_settings(name, options) for name, options in hosts.items()))
    try:
        await pipeline.start()
        assert pipeline.run is not None
        bus = await connect(pipeline.run.redis.reveal(), name="scenarios")
        feed = Feed(bus, lambda _: None)
        following = asyncio.create_task(feed.follow())
        try:
            yield Mendstream(pipeline, feed)
        finally:
            following.cancel()
            await asyncio.wait([following])
            await bus.close()
    finally:
        await pipeline.stop()
