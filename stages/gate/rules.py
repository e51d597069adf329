"""A policy: ordered rules, what they are matched with, and what they demand of an action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

import msgspec

from schemas.numbers import Count, Seconds
from schemas.text import clean
from schemas.words import Mode, Risk, Severity, Source, Tier
from stages.gate.conditions import Condition, ConditionFailed
from stages.gate.windows import Window

MOST_SIGNATURES = 20
MEASURED_TIERS = tuple(tier.value for tier in Tier)
UNMEASURED = "unmeasured"
"""The tier of an action whose blast radius was not measured, or is nobody's proven word."""

Name = msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,59}$")
TierWord = Literal["auto", "human", "dual", "blocked", "unmeasured"]
Texts = str | tuple[str, ...]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy may know of an action. `risk` is that after trust; `labels` are those of each alert, one at least; `said` are words
    for the reasons of rules, by name.
    """

    severity: Severity
    cluster: str
    namespace: str
    name: str
    kind: str
    action: str
    risk: Risk
    tier: str
    score: int
    trust: int
    mode: Mode
    source: Source
    playbook: str
    confidence: float
    labels: tuple[dict[str, str], ...]
    alerts: tuple[str, ...]
    now: datetime
    proven: bool
    related: bool
    checked: bool
    said: dict[str, str] = {}

    def values(self, labels: Mapping[str, str]) -> dict[str, Any]:
        """The names of a condition, with the labels of one alert."""
        plain = {name: getattr(self, name) for name in self.__struct_fields__ if name != "said"}
        words = {name: str(plain[name]) for name in ("severity", "risk", "mode", "source")}
        return plain | words | {"alerts": list(self.alerts), "labels": dict(labels)}


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a rule is about: everything that is named must hold, one of several where a list is given. Texts may have `*` in them."""

    severity: Severity | tuple[Severity, ...] = ()
    cluster: Texts = ()
    namespace: Texts = ()
    name: Texts = ()
    kind: Texts = ()
    labels: dict[str, Texts] = {}
    action: Texts = ()
    risk: Risk | tuple[Risk, ...] = ()
    tier: TierWord | tuple[TierWord, ...] = ()
    mode: Mode | tuple[Mode, ...] = ()
    source: Source | tuple[Source, ...] = ()
    playbook: Texts = ()
    proven: bool | None = None
    related: bool | None = None
    checked: bool | None = None
    time: Window | None = None
    when: str = ""


class RuleCooldown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many automatic actions that the rule is about in so much time, on each target or on all together; one more asks a person."""

    actions: Count
    seconds: Seconds
    per: Literal["target", "everywhere"] = "everywhere"


class Effect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a rule demands. `signatures` is a number, or one for each risk or tier; `refuse` the reason why nobody may."""

    signatures: int | dict[str, int] | None = None
    roles: tuple[str, ...] = ()
    mode: Mode | None = None
    refuse: str = ""
    cooldown: RuleCooldown | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One rule. After one with `last` that matches, none is read any more. `line` is where it stands in its file."""

    name: str
    match: Match = Match()
    effect: Effect
    reason: str = ""
    last: bool = False
    line: int = 0

    @property
    def on_alerts(self) -> bool:
        """Whether it is about what alerts say of themselves, which whoever writes them chooses: then it can only demand more."""
        return bool(self.match.labels) or "labels" in self.match.when or "alerts" in self.match.when

    @cached_property
    def condition(self) -> Condition:
        """Its condition, where it has one. Raises ValueError for one that cannot be meant."""
        return Condition(self.match.when)


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule that matched demands of this action; `signatures` is None where it says nothing of them."""

    rule: str
    line: int
    reason: str
    signatures: int | None = None
    roles: tuple[str, ...] = ()
    mode: Mode | None = None
    refuse: str = ""
    cooldown: RuleCooldown | None = None


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that did not match, and why."""

    rule: str
    line: int
    why: str


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A policy as it was applied to one action. `broken` says which condition had no answer: then nothing is done."""

    applied: tuple[Applied, ...]
    passed: tuple[Passed, ...]
    broken: str = ""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one file; `version` is a short hash of its text."""

    file: str
    version: str
    rules: tuple[Rule, ...]

    def read(self, facts: Facts) -> Reading:
        """Which rules speak of an action, in their order, up to a last one; and why the others do not."""
        applied: list[Applied] = []
        passed: list[Passed] = []
        for place, rule in enumerate(self.rules):
            try:
                why = next(_mismatches(rule, facts), "")
            except ConditionFailed as error:
                broken = f"{self.file}:{rule.line}: the condition of the rule {rule.name} has no answer for this action: {error}"
                return Reading(applied=tuple(applied), passed=tuple(passed), broken=broken)
            if why:
                passed.append(Passed(rule=rule.name, line=rule.line, why=why))
                continue
            applied.append(_applied(rule, facts))
            if rule.last:
                unread = (Passed(rule=one.name, line=one.line, why=f"not read after {rule.name}") for one in self.rules[place + 1 :])
                passed.extend(unread)
                break
        return Reading(applied=tuple(applied), passed=tuple(passed))

    @property
    def most_signatures(self) -> int:
        """The most that any rule asks for."""
        return max((number for rule in self.rules for number in _numbers(rule.effect.signatures)), default=1)


def _numbers(signatures: int | Mapping[str, int] | None) -> tuple[int, ...]:
    if signatures is None:
        return ()
    return (signatures,) if isinstance(signatures, int) else tuple(signatures.values())


def _applied(rule: Rule, facts: Facts) -> Applied:
    effect = rule.effect
    said = rule.reason or effect.refuse or f"the rule {rule.name}"
    table = effect.signatures
    signatures = table if isinstance(table, int) or table is None else table.get(facts.risk.value, table.get(facts.tier))
    if rule.on_alerts:
        signatures = signatures or None  # none needed would take away that one is needed where no rule says a number
    if effect.roles:
        signatures = max(signatures or 0, 1)
    return Applied(
        rule=rule.name,
        line=rule.line,
        reason=clean(said.format_map(facts.said), 600),
        signatures=signatures,
        roles=effect.roles,
        mode=effect.mode,
        refuse=effect.refuse,
        cooldown=effect.cooldown,
    )


def _mismatches(rule: Rule, facts: Facts) -> Iterator[str]:
    """Why the rule is not about this action; nothing when it is. Raises ConditionFailed."""
    match = rule.match
    yield from _other_words(match, facts)
    for name in ("proven", "related", "checked"):
        if getattr(match, name) not in (None, getattr(facts, name)):
            yield f"it is {'' if getattr(facts, name) else 'not '}{name}"
    if match.time is not None and not match.time.holds(facts.now):
        yield f"it is not the time: {match.time.cron} ({match.time.zone})"
    if why := _unlike_alerts(rule, facts):
        yield why


def _unlike_alerts(rule: Rule, facts: Facts) -> str:
    """Why it is about none of the alerts, by the first one; empty when it is about one. Raises ConditionFailed."""
    whys = []
    for labels in facts.labels if rule.on_alerts else facts.labels[:1]:
        why = next(_of_alert(rule, facts, labels), "")
        if not why:
            return ""
        whys.append(why)
    return whys[0]


def _of_alert(rule: Rule, facts: Facts, labels: Mapping[str, str]) -> Iterator[str]:
    """Why the rule is not about this alert; nothing when it is. One alert must have all that is asked of labels."""
    for label, value in rule.match.labels.items():
        is_, wanted = labels.get(label), several(value)
        if is_ is None or not _fits(is_, wanted):
            yield f"the label {label} is {'missing' if is_ is None else clean(is_, 60)}, not {_listed(wanted)}"
    if rule.match.when and not rule.condition.holds(facts.values(labels)):
        yield f"it does not hold that {rule.match.when}"


def _other_words(match: Match, facts: Facts) -> Iterator[str]:
    for name in ("severity", "risk", "tier", "mode", "source"):
        wanted, is_ = several(getattr(match, name)), getattr(facts, name)
        if wanted and is_ not in wanted:
            yield f"{name} is {is_}, not {_listed(wanted)}"
    for name in ("cluster", "namespace", "name", "kind", "action", "playbook"):
        wanted, is_ = several(getattr(match, name)), getattr(facts, name)
        if wanted and not _fits(is_, wanted):
            yield f"{name} is {is_ or 'none'}, not {_listed(wanted)}"


def several(wanted: Any) -> tuple[Any, ...]:
    """What is given as one or as a list."""
    return wanted if isinstance(wanted, tuple) else (wanted,)


def _fits(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _listed(wanted: tuple[Any, ...]) -> str:
    return " or ".join(str(one) for one in wanted)
