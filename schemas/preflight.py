"""What is found out about an action before it runs: checks that were really made, and how far it would reach."""

from __future__ import annotations

import msgspec

from schemas.words import CheckResult, Tier


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One preflight check, really run or said not to have been. `missing` names what is lacking, such as a permission.

    `warning` is set on one that passed, and found what whoever signs must know nevertheless, which `detail` says.
    `subject` tells checks of one name apart, such as the permission that was asked for; it is not written where there is none.
    """

    name: str
    result: CheckResult
    detail: str = ""
    missing: str = ""
    warning: bool | msgspec.UnsetType = msgspec.UNSET
    subject: str | msgspec.UnsetType = msgspec.UNSET


class BlastRadius(msgspec.Struct, frozen=True, kw_only=True):
    """What an action would touch, measured. `score` is 0 to 100; `downtime` in seconds; `services` five at most."""

    score: int
    tier: Tier
    pods: int = 0
    replicas: int = 0
    services: tuple[str, ...] = ()
    budget_headroom: int | None = None
    data_impact: str = "none"
    downtime: float = 0.0
    unmeasured: tuple[str, ...] = ()
