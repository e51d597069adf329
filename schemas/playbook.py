"""A playbook: a known remedy, the symptoms that it fits, and what its owner allows. One YAML file each; see docs/playbooks.md."""

from __future__ import annotations

from typing import Annotated

import msgspec

from schemas.numbers import Count, Wait
from schemas.playbook_steps import AnyStep, Condition
from schemas.words import Mode, Risk, Severity

NAME = r"^[a-z0-9](?:[a-z0-9-]{0,98}[a-z0-9])?$"

Name = Annotated[str, msgspec.Meta(pattern=NAME, description="lower case letters, digits and dashes")]
Line = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Selector = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, description="matchers in Alertmanager's syntax")]


class Symptoms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a playbook fits. What is not said counts for nothing.

    alerts      any of these fits; within one all matchers have to hold for one alert of the incident
    services    services that are affected
    severities  of the incident
    targets     exact targets, as cluster/namespace/kind/name; none: any
    evidence    conditions on what was seen, all of which have to hold
    """

    alerts: Annotated[tuple[Selector, ...], msgspec.Meta(min_length=1, max_length=50)]
    services: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=253)], ...], msgspec.Meta(max_length=50)] = ()
    severities: tuple[Severity, ...] = ()
    targets: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=2048)], ...], msgspec.Meta(max_length=50)] = ()
    evidence: Annotated[tuple[Condition, ...], msgspec.Meta(max_length=20)] = ()


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How it is judged whether it healed, besides what is judged of every action.

    conditions  on what is seen afterwards; as long as one does not hold there is no success
    promql      questions to Prometheus, each an expression that gives something only when all is well, else there is no success; a
                look-up such as `{target.name}` stands within double quotes, for a name of letters, digits and _ . : -
    hold_down   how long a success is held before it is told, in seconds
    """

    conditions: Annotated[tuple[Condition, ...], msgspec.Meta(max_length=20)] = ()
    promql: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=2000)], ...], msgspec.Meta(max_length=10)] = ()
    hold_down: Wait | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often it may run on one target. `cooldown`: seconds between two; `most_per_hour`: 0 is without limit."""

    cooldown: Wait = 0.0
    most_per_hour: Count = 0


class Playbook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One version of a remedy, as its file says it.

    steps    in order of preference: the first that can be done and whose conditions hold is proposed, the next where that one
             fails its checks before it is done
    inverse  what takes the first step back, where the cluster does not know that itself
    risk     raises the risk that follows from the severity; a lower one has no effect
    mode     at most so much is allowed: shadow, assist or auto; the gate may be stricter
    """

    name: Name
    title: Line
    owner: Line
    symptoms: Symptoms
    steps: Annotated[tuple[AnyStep, ...], msgspec.Meta(min_length=1, max_length=8)]
    description: Annotated[str, msgspec.Meta(max_length=4000)] = ""
    verification: Verification = Verification()
    inverse: AnyStep | None = None
    risk: Risk | None = None
    limits: Limits = Limits()
    mode: Mode | None = None


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What one part gave to a similarity: `share` of `weight`, both 0 to 1, and why."""

    part: str
    weight: float
    share: float
    why: str = ""


class NearMiss(msgspec.Struct, frozen=True, kw_only=True):
    """A playbook that nearly fitted, how much, and what it lacked."""

    playbook: str
    version: int
    similarity: float
    why: str
