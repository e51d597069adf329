"""What stages ask of the world, as Protocols. One implementation speaks to Kubernetes, one to hosts over SSH."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec

from schemas.action import Action
from schemas.evidence import AlertView, Band, GitOps, MetricView, Sensor, Snapshot
from schemas.preflight import BlastRadius, Check
from schemas.target import Target
from schemas.words import Choice, Language


class Preflight(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about an action before running it.

    `uid` is the UID of the very object it would touch (empty where there is none), `diff` what a dry run would change,
    `inverse` the action that would undo it, or None; `target` is the action's target with its name as the cluster spells it.
    `basis` is a short hash of the part of the object that the action changes, as it is now (empty where the UID alone binds):
    another one at execution means that somebody changed it since the approval. `gitops` is what would revert the change.
    """

    target: Target
    uid: str
    checks: tuple[Check, ...]
    blast: BlastRadius
    diff: str = ""
    inverse: Action | None = None
    basis: str = ""
    gitops: GitOps | None = None


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """The side effect happened: now, or (`repeated`) it carried the operation's mark already. `output` is for people."""

    output: str
    repeated: bool = False


class World(Protocol):
    """Where targets live. Every method may raise `adapters.errors.AdapterError` and bounds its own time."""

    async def owner(self, target: Target) -> Target:
        """The workload that owns a pod, with the live spelling of its name; any other target as it is. Raises TargetMissing."""
        ...

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        """All sensors at once, each bounded by its own time; one that fails is missing from the snapshot, never an exception.

        `parts` names units and containers of a host that are to be seen however many others it has.
        """
        ...

    async def preflight(self, action: Action) -> Preflight:
        """Runs every check that applies and changes nothing; what could not be checked says so."""
        ...

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        """Does it, once: the operation's id marks the target, `uid` is a precondition.

        Raises Transient or Refused when nothing was changed, TargetMissing, Failed when it ran in vain or in part, and
        OutcomeUnknown when that cannot be said.
        """
        ...

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        """Whether the operation's side effect is there: True, False, or None when it cannot be told.

        `token` is the fencing token of its first attempt, 0 where that is not known.
        """
        ...

    async def close(self) -> None: ...


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """What a metric's history says: the band at the time asked for, or None and in `note` why there is none.

    `history` is the span of the samples, in seconds.
    """

    band: Band | None
    history: float
    note: str = ""


Forecast = Callable[[Sequence[tuple[float, float]], float, float], Usual]
"""From samples (Unix time in seconds, value), the time asked for and the step between samples in seconds. It raises nothing."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What Prometheus said of a target. Each query is one sensor, by the name `metric:…`."""

    metrics: tuple[MetricView, ...] = ()
    sensors: tuple[Sensor, ...] = ()

    def added_to(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the metrics and their sensors."""
        return msgspec.structs.replace(snapshot, metrics=self.metrics, sensors=(*snapshot.sensors, *self.sensors))


class AlertState(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of an alert. Each that was asked is one sensor, by the name `alert:…`."""

    alerts: tuple[AlertView, ...] = ()
    sensors: tuple[Sensor, ...] = ()

    def added_to(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the alert's state and its sensors."""
        return msgspec.structs.replace(snapshot, alerts=(*snapshot.alerts, *self.alerts), sensors=(*snapshot.sensors, *self.sensors))


class Metrics(Protocol):
    """What is measured from outside of a target, and whether an alert still fires. No method raises an AdapterError."""

    async def measure(
        self, target: Target, alerts: Sequence[str], labels: Mapping[str, str], at: datetime, *, usual_until: datetime | None = None
    ) -> Measurement:
        """The metrics that fit the kind of alert, at `at`; `alerts` are names, `labels` those of one of them.

        What is usual is told from the history before `usual_until`, which should be the begin of the trouble, so that it
        does not count as usual; without it, no history is read.
        """
        ...

    async def alert(
        self, labels: Mapping[str, str], *, cluster: str = "", target: Target | None = None, heard_by: Sequence[str] = ()
    ) -> AlertState:
        """What each that knows alerts says of the one with these labels; nothing where nobody is to be asked.

        `cluster` is the one of its target. Where `target` is a workload and the alert is about one of its pods, it holds when it
        holds for any of them: the new pods have other names. `heard_by` are the runs of Alertmanagers that were seen to have it
        (`AlertView.heard_by`): only in these does it say no that they do not have it any more.
        """
        ...

    async def firing(
        self, labels: Mapping[str, str], *, cluster: str = "", target: Target | None = None, heard_by: Sequence[str] = ()
    ) -> bool | None:
        """Whether the alert with these labels holds now, of all that `alert` says; None when nobody could tell."""
        ...

    async def holds(self, query: str, *, cluster: str, at: datetime) -> bool | None:
        """Whether this PromQL gives anything at `at`, by the Prometheus of the cluster; None when nobody could tell."""
        ...

    async def close(self) -> None: ...


class Channel(Protocol):
    """A way to reach people."""

    @property
    def name(self) -> str: ...

    async def send(self, lines: Sequence[str], *, delivery: str) -> None:
        """Delivers one message; `delivery` is the same for a repetition of it. Raises Transient or Refused."""
        ...

    async def close(self) -> None: ...


class CardLine(msgspec.Struct, frozen=True):
    """One fact of a card: `label` is of the catalogue, `text` may be anybody's."""

    label: str
    text: str


class CardButton(msgspec.Struct, frozen=True):
    """One button of a card: pressed, it asks for this vote on this approval."""

    text: str
    choice: Choice
    approval: str


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of one incident, without any markup: each channel escapes it for its own. `change` are lines of a diff."""

    title: str
    lines: tuple[CardLine, ...]
    change: tuple[str, ...] = ()
    change_label: str = ""
    buttons: tuple[CardButton, ...] = ()


@runtime_checkable
class CardChannel(Channel, Protocol):
    """A channel that keeps one message for each incident and edits it. Every method may raise Transient, Busy or Refused."""

    @property
    def language(self) -> Language: ...

    async def post(self, card: Card) -> str:
        """Posts a card; returns the channel's own id of the message."""
        ...

    async def edit(self, message: str, card: Card) -> None:
        """Shows the card in place of what the message shows. Raises MessageGone where somebody has deleted it."""
        ...

    async def reply(self, message: str, lines: Sequence[str], *, loud: bool) -> None:
        """Answers the card; `loud` where people are asked for something."""
        ...
