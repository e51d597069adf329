"""What an operator may set about the gate."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated

import msgspec

from schemas.numbers import Count, Positive, Seconds
from schemas.target import Target
from schemas.words import Mode, Risk, Severity


class Weekday(StrEnum):
    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


_DAYS = tuple(Weekday)


class GitOpsPolicy(StrEnum):
    """What becomes of an action that a GitOps tool will revert."""

    WARN = "warn"
    REFUSE = "refuse"


class RiskTable(msgspec.Struct, frozen=True, kw_only=True):
    """The risk of an action whose source names none, by the severity of its incident."""

    p0: Risk = Risk.CRITICAL
    """Of an incident of severity P0: low, medium, high or critical."""

    p1: Risk = Risk.CRITICAL
    """Of an incident of severity P1."""

    p2: Risk = Risk.MEDIUM
    """Of an incident of severity P2."""

    p3: Risk = Risk.LOW
    """Of an incident of severity P3."""

    def of(self, severity: Severity) -> Risk:
        return {Severity.P0: self.p0, Severity.P1: self.p1, Severity.P2: self.p2, Severity.P3: self.p3}[severity]


class SignatureTable(msgspec.Struct, frozen=True, kw_only=True):
    """How many different people sign an action of each risk; 0 lets it run alone."""

    low: Count = 0
    """People who sign an action of low risk."""

    medium: Count = 1
    """People who sign an action of medium risk."""

    high: Count = 1
    """People who sign an action of high risk."""

    critical: Count = 2
    """People who sign an action of critical risk."""

    def of(self, risk: Risk) -> int:
        return {Risk.LOW: self.low, Risk.MEDIUM: self.medium, Risk.HIGH: self.high, Risk.CRITICAL: self.critical}[risk]


class Cooldown(msgspec.Struct, frozen=True, kw_only=True):
    """So many automatic actions in so much time; one more asks people."""

    actions: Count
    """How many automatic actions are allowed."""

    seconds: Seconds
    """In how many seconds."""


class FreezeWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A time without automatic actions: every week from `start` to `end`, or once from `begins` to `ends`. All times are UTC."""

    weekdays: tuple[Weekday, ...] = ()
    """The days on which a weekly window starts; none: every day."""

    start: str = ""
    """When a weekly window starts, `HH:MM` UTC."""

    end: str = ""
    """When a weekly window ends, `HH:MM` UTC; not after `start`: on the next day."""

    begins: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """When a single window begins, with its zone."""

    ends: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """When a single window ends, with its zone."""

    reason: str = ""
    """What people are told."""

    def __post_init__(self) -> None:
        weekly, single = bool(self.start and self.end), self.begins is not None and self.ends is not None
        if weekly == single or (single and (self.start or self.end or self.weekdays)) or (weekly and (self.begins or self.ends)):
            raise ValueError("a freeze window has either start and end (HH:MM, weekly) or begins and ends (dates with a zone)")
        if weekly:
            _clock(self.start), _clock(self.end)
        elif self.begins is not None and self.ends is not None and self.ends <= self.begins:
            raise ValueError("a freeze window ends after it begins")

    def holds(self, now: datetime) -> bool:
        """Whether `now` is inside the window; its start belongs to it, its end does not."""
        if self.begins is not None and self.ends is not None:
            return self.begins <= now < self.ends
        now = now.astimezone(UTC)
        start, end, clock = _clock(self.start), _clock(self.end), now.time()
        if start < end:
            return self._starts_on(now) and start <= clock < end
        return (self._starts_on(now) and clock >= start) or (self._starts_on(now - timedelta(days=1)) and clock < end)

    def _starts_on(self, day: datetime) -> bool:
        return not self.weekdays or _DAYS[day.weekday()] in self.weekdays


def _clock(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").replace(tzinfo=UTC).time()
    except ValueError:
        raise ValueError(f"{text!r} is not a time of day: write HH:MM, such as 22:00") from None


class GateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Who must agree before an action may run."""

    mode: Mode = Mode.ASSIST
    """shadow decides and records but runs nothing; assist has a person sign every change; auto lets risk and trust decide."""

    namespaces: dict[str, Mode] = {}
    """The mode of single namespaces, by `NAMESPACE` or `CLUSTER/NAMESPACE`, in place of `mode`."""

    risks: RiskTable = RiskTable()
    signatures: SignatureTable = SignatureTable()

    signed: tuple[str, ...] = ("bounds", "cordon", "uncordon", "evict")
    """Verbs of actions that a person always signs, whatever their risk and trust: they reach beyond the workload of the incident."""

    trust_threshold: Positive = 5
    """The trust score from which risk drops one level (medium to low, high to medium); critical never drops."""

    gitops: GitOpsPolicy = GitOpsPolicy.WARN
    """What becomes of an action that Argo CD or Flux will revert: warn tells whoever signs, refuse holds it and asks people."""

    expiry: Seconds = 3600.0
    """Seconds that a request waits for its signatures before it expires and people are asked."""

    grant: Seconds = 600.0
    """Seconds in which an approved action must begin; after that it is stale and is refused."""

    cooldown: Cooldown = Cooldown(actions=10, seconds=600.0)
    target_cooldown: Cooldown = Cooldown(actions=3, seconds=300.0)

    freeze: tuple[FreezeWindow, ...] = ()
    """Windows in which nothing runs without a signature."""

    def mode_of(self, target: Target) -> Mode:
        """The mode for a target: its cluster and namespace, else its namespace, else the global one."""
        named = self.namespaces.get(f"{target.cluster}/{target.namespace}") or self.namespaces.get(target.namespace)
        return named or self.mode
