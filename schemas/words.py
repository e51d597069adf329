"""The closed sets of words that events and stores share."""

from __future__ import annotations

from enum import StrEnum


class SignalStatus(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


class Severity(StrEnum):
    """P0 is the worst."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class Risk(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Tier(StrEnum):
    """Who a blast radius asks for: nobody, one person, two people, or no one can allow it."""

    AUTO = "auto"
    HUMAN = "human"
    DUAL = "dual"
    BLOCKED = "blocked"


class Mode(StrEnum):
    """shadow decides and records but runs nothing; assist has a person sign everything; auto lets trust decide."""

    SHADOW = "shadow"
    ASSIST = "assist"
    AUTO = "auto"


class IncidentState(StrEnum):
    INVESTIGATING = "INVESTIGATING"
    MITIGATING = "MITIGATING"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"


class Source(StrEnum):
    """Where a proposal comes from."""

    PLAYBOOK = "playbook"
    MODEL = "model"
    TEMPLATE = "template"
    PERSON = "person"
    REPAIR = "repair"


class Debate(StrEnum):
    """What a critic said of what a language model suggests: `unheard` is a critic that gave no answer that could be read."""

    AGREED = "agreed"
    OBJECTED = "objected"
    UNHEARD = "unheard"


class Bearing(StrEnum):
    """Whether what followed bears out what somebody said: `unknown` where it says nothing for it and nothing against it."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


class CheckResult(StrEnum):
    """`not_checked` says that the check could not be run; it never counts as passed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"


class ApprovalState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Choice(StrEnum):
    SIGN = "sign"
    REJECT = "reject"


class OperationState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How an approved action ended; `unknown` means that nobody can say whether the side effect happened.

    `withdrawn`: its incident was over before it began, so that it was not needed any more, or a person rejected it until then.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    DRY_RUN_BLOCKED = "dry_run_blocked"
    SHADOWED = "shadowed"
    WITHDRAWN = "withdrawn"


class Verdict(StrEnum):
    """The four results of a verification."""

    SUCCESS = "success"
    DEGRADED = "degraded"
    FAILED = "failed"
    TIMEOUT = "timeout"


class Result(StrEnum):
    """What came of an execution: the verdict on it, or, where there is none, how it ended."""

    SUCCESS = "success"
    DEGRADED = "degraded"
    FAILED = "failed"
    TIMEOUT = "timeout"
    SUCCEEDED = "succeeded"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    DRY_RUN_BLOCKED = "dry_run_blocked"
    SHADOWED = "shadowed"
    WITHDRAWN = "withdrawn"


class Ground(StrEnum):
    """What a verdict rests on. Those in `UNKNOWN_GROUNDS` say nothing for the action and nothing against it.

    `contained`: what was wanted is in place, and it is no remedy, such as a cordon. `still_firing`: all is well but the alert's own
    rule, which holds. `starting`: nothing is wrong but that new pods are still being started.
    """

    HEALED = "healed"
    STAYED_WELL = "stayed_well"
    HEALED_NOTHING = "healed_nothing"
    BETTER = "better"
    REGRESSED = "regressed"
    RESTARTING = "restarting"
    NOT_CONVERGED = "not_converged"
    SAME_FAULT = "same_fault"
    OTHER_FAULT = "other_fault"
    WORSE = "worse"
    RELAPSED = "relapsed"
    CONTAINED = "contained"
    CHANGED_SINCE = "changed_since"
    ONLY_LOOKED = "only_looked"
    NOTHING_BEFORE = "nothing_before"
    ACTION_UNKNOWN = "action_unknown"
    UNMEASURED = "unmeasured"
    STILL_FIRING = "still_firing"
    STARTING = "starting"


UNKNOWN_GROUNDS = frozenset(
    {
        *(Ground.CONTAINED, Ground.CHANGED_SINCE, Ground.ONLY_LOOKED, Ground.NOTHING_BEFORE, Ground.ACTION_UNKNOWN, Ground.UNMEASURED),
        Ground.STILL_FIRING,
        Ground.STARTING,
    }
)


class Health(StrEnum):
    """What one look says of one thing; `unknown` means it could not be measured."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    UNHEALTHY = "unhealthy"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Worse(StrEnum):
    """The direction in which a metric gets worse."""

    UP = "up"
    DOWN = "down"


class FailureClass(StrEnum):
    TIMEOUT = "timeout"
    KUBERNETES = "kubernetes_error"
    NETWORK = "network_error"
    PERMISSION = "permission_denied"
    RESOURCE = "resource_error"
    UNKNOWN = "unknown"


class DeadReason(StrEnum):
    """Why a dead letter died."""

    UNDECODABLE = "undecodable"
    UNKNOWN_TYPE = "unknown_type"
    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
    CRASHED = "crashed"


class Disposition(StrEnum):
    """How a recurring problem was disposed of."""

    AUTO_REPAIRED = "auto_repaired"
    HUMAN_APPROVED = "human_approved"
    REJECTED = "rejected"
    SELF_RESOLVED = "self_resolved"


class Probe(StrEnum):
    """The tools that are run to diagnose a host; all of them only look."""

    PS = "ps"
    DF = "df"
    FREE = "free"
    TOP = "top"
    UPTIME = "uptime"


class Language(StrEnum):
    """The languages in which people are told."""

    ENGLISH = "en"
    CHINESE = "zh-Hant"
