"""What an operator may set about the gate."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.numbers import Count, Positive, Seconds
from schemas.target import Target
from schemas.words import Mode, Risk, Severity
from stages.gate.windows import FreezeWindow


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


class Cooldown(msgspec.Struct, frozen=True, kw_only=True):
    """So many automatic actions in so much time; one more asks people."""

    actions: Count
    """How many automatic actions are allowed."""

    seconds: Seconds
    """In how many seconds."""


class StormBrake(msgspec.Struct, frozen=True, kw_only=True):
    """So many incidents in so much time; with one more, nothing runs without a signature, and people are told once."""

    incidents: Positive = 50
    """How many new incidents are no storm."""

    seconds: Seconds = 600.0
    """In how many seconds."""


class GateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Who must agree before an action may run."""

    mode: Mode = Mode.ASSIST
    """shadow decides and records but runs nothing; assist has a person sign every change; auto lets risk and trust decide."""

    namespaces: dict[str, Mode] = {}
    """The mode of single namespaces, by `NAMESPACE` or `CLUSTER/NAMESPACE`, in place of `mode`."""

    policy: str = ""
    """The file that says who must agree to what, such as `policy.yaml`; see docs/policy.md. Empty: the rules that come with Mendstream."""

    risks: RiskTable = RiskTable()

    trust_threshold: Positive = 5
    """The trust score from which risk drops one level (medium to low, high to medium); critical never drops."""

    trust_half_life: Seconds = 90 * 86400.0
    """Seconds after which a verified success counts half for trust, and a quarter after twice that."""

    gitops: GitOpsPolicy = GitOpsPolicy.WARN
    """What becomes of an action that Argo CD or Flux will revert: warn tells whoever signs, refuse holds it and asks people."""

    expiry: Seconds = 3600.0
    """Seconds that a request waits for its signatures before it is escalated, or expires; people are reminded half way."""

    escalation: tuple[str, ...] = ()
    """Roles whose people are asked one after another when a request was not signed in time; each has the same time again."""

    grant: Seconds = 600.0
    """Seconds in which an approved action must begin; after that it is stale and is refused."""

    cooldown: Cooldown = Cooldown(actions=10, seconds=600.0)
    target_cooldown: Cooldown = Cooldown(actions=3, seconds=300.0)

    storm: StormBrake = StormBrake()

    freeze: tuple[FreezeWindow, ...] = ()
    """Times in which nothing runs without a signature."""

    def mode_of(self, target: Target) -> Mode:
        """The mode for a target: its cluster and namespace, else its namespace, else the global one."""
        named = self.namespaces.get(f"{target.cluster}/{target.namespace}") or self.namespaces.get(target.namespace)
        return named or self.mode
