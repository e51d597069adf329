"""Every event that flows, by the topic it flows on.

Changing one without a new version fails the golden-file test in `tests/fundamentals/test_events.py`. They are in one file, a long one, for
they are the vocabulary that everything else is read by.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import msgspec

from schemas.action import Action
from schemas.event import Event
from schemas.evidence import GitOps
from schemas.judgement import Demand, Judgement
from schemas.learning import FeedbackGiven, FeedbackKept, PlaybookChanged
from schemas.playbook import NearMiss, Share
from schemas.preflight import BlastRadius, Check
from schemas.target import Target
from schemas.words import (
    Choice,
    DeadReason,
    Debate,
    Disposition,
    FailureClass,
    Ground,
    Mode,
    Outcome,
    Risk,
    Severity,
    SignalStatus,
    Source,
    Verdict,
)

# signals ---------------------------------------------------------------------------------------------------------


class SignalReceived(Event, frozen=True, kw_only=True):
    """One alert as received. `fingerprint`, `starts_at` and `status` together identify it; texts are as they came."""

    topic: ClassVar[str] = "signals"

    fingerprint: str
    status: SignalStatus
    starts_at: datetime
    ends_at: datetime | None = None
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    generator_url: str = ""
    source: str


# incidents -------------------------------------------------------------------------------------------------------


class IncidentOpened(Event, frozen=True, kw_only=True):
    """The first signal about a target opened an incident. `anomaly` is the anomaly key: alert name + target."""

    topic: ClassVar[str] = "incidents"

    target: Target
    severity: Severity
    title: str
    alert: str
    anomaly: str
    recurrence: int = 1
    labels: dict[str, str] = {}


class IncidentUpdated(Event, frozen=True, kw_only=True):
    """A further signal joined, one of several resolved, or the severity rose; `severity` is the worst of its signals."""

    topic: ClassVar[str] = "incidents"

    target: Target
    severity: Severity
    alert: str
    status: SignalStatus
    firing: int


class IncidentResolved(Event, frozen=True, kw_only=True):
    """Every signal resolved; what still waited for approval is to be withdrawn.

    `disposition` is what was known then: what was done may still be verified, and is a repair only once it is.
    """

    topic: ClassVar[str] = "incidents"

    target: Target
    disposition: Disposition
    seconds: float


class IncidentClosed(Event, frozen=True, kw_only=True):
    """The incident stayed resolved through its quiet time."""

    topic: ClassVar[str] = "incidents"

    target: Target


# proposals -------------------------------------------------------------------------------------------------------


class ActionProposed(Event, frozen=True, kw_only=True):
    """An action put forward for an incident, with its reasons; the event's id is the proposal's id.

    `evidence` is the id of the snapshot it rests on; `risk` is set only where the source names one; `inverse` would undo it;
    `basis` is a short hash of what the action changes, as it was when it was proposed (see `adapters.ports.Preflight`); `gitops` what
    would revert it; `proof` shows that this person proposes it, where a person does (see `stages.gate.votes`);
    `objection` is what a critic says against it, and is not written where there is none; `debate` how a critic that was asked answered.
    `playbook` is the name of the playbook that it is from; its version, what made its `similarity`, and the playbooks that nearly
    fitted are not written where there are none; nor is the failed operation that it `repairs`, where it is no repair of one.
    """

    topic: ClassVar[str] = "proposals"

    action: Action
    target_uid: str
    severity: Severity
    source: Source
    provider: str
    proposer: str
    confidence: float
    reasons: tuple[str, ...]
    evidence: str
    cached: bool = False
    root_cause: str = ""
    risk: Risk | None = None
    checks: tuple[Check, ...] = ()
    blast: BlastRadius | None = None
    inverse: Action | None = None
    playbook: str = ""
    diff: str = ""
    basis: str = ""
    gitops: GitOps | None = None
    proof: str = ""
    objection: str | msgspec.UnsetType = msgspec.UNSET
    playbook_version: int | msgspec.UnsetType = msgspec.UNSET
    similarity: tuple[Share, ...] | msgspec.UnsetType = msgspec.UNSET
    near: tuple[NearMiss, ...] | msgspec.UnsetType = msgspec.UNSET
    repairs: str | msgspec.UnsetType = msgspec.UNSET
    debate: Debate | msgspec.UnsetType = msgspec.UNSET


class ProposalOutdated(Event, frozen=True, kw_only=True):
    """What a proposal would change was changed since, or is gone: what waits for signatures for it is to be withdrawn."""

    topic: ClassVar[str] = "proposals"

    proposal: str
    action: Action
    reason: str


# decisions -------------------------------------------------------------------------------------------------------


class ApprovalRequested(Event, frozen=True, kw_only=True):
    """People are asked to sign. `approval` is the row in Postgres that holds the authority."""

    topic: ClassVar[str] = "decisions"

    approval: str
    proposal: str
    action: Action
    action_hash: str
    risk: Risk
    signatures: int
    rule: str
    mode: Mode
    expires_at: datetime


class ApprovalSigned(Event, frozen=True, kw_only=True):
    """One person signed; `missing` signatures are still wanted."""

    topic: ClassVar[str] = "decisions"

    approval: str
    person: str
    missing: int
    comment: str = ""


class VoteRefused(Event, frozen=True, kw_only=True):
    """A vote did not count, and why: not genuine, not allowed, twice by one person, or too late."""

    topic: ClassVar[str] = "decisions"

    approval: str
    person: str
    reason: str


class ActionApproved(Event, frozen=True, kw_only=True):
    """All that had to agree has agreed. News only: execute acts on the approval's row, never on this event."""

    topic: ClassVar[str] = "decisions"

    approval: str
    action: Action
    action_hash: str
    risk: Risk
    automatic: bool
    signers: tuple[str, ...] = ()
    rule: str = ""
    mode: Mode = Mode.AUTO


class ActionRejected(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "decisions"

    approval: str
    action: Action
    person: str
    comment: str = ""


class ApprovalExpired(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "decisions"

    approval: str
    action: Action


class ApprovalWithdrawn(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "decisions"

    approval: str
    action: Action
    reason: str


class ActionHeld(Event, frozen=True, kw_only=True):
    """Nothing will run: a valve holds, the tier is blocked, a check failed, or the mode is shadow. `rule` names which.

    `diff` is what would have been changed, of the object with `target_uid`.
    """

    topic: ClassVar[str] = "decisions"

    proposal: str
    action: Action
    rule: str
    reason: str
    mode: Mode
    diff: str = ""
    target_uid: str = ""


# votes -----------------------------------------------------------------------------------------------------------


class VoteCast(Event, frozen=True, kw_only=True):
    """One person's signature or rejection. `proof` is the HMAC of `stages.gate` over the fields, by who authenticated them."""

    topic: ClassVar[str] = "votes"

    approval: str
    action_hash: str
    person: str
    choice: Choice
    origin: str
    comment: str = ""
    proof: str = ""


# executions ------------------------------------------------------------------------------------------------------


class ExecutionStarted(Event, frozen=True, kw_only=True):
    """An operation was claimed in the ledger and is about to touch the world. `token` is its fencing token."""

    topic: ClassVar[str] = "executions"

    operation: str
    approval: str
    action: Action
    attempt: int
    token: int


class ExecutionFinished(Event, frozen=True, kw_only=True):
    """How the execution ended. `before` is the id of the snapshot taken just before it."""

    topic: ClassVar[str] = "executions"

    operation: str
    approval: str
    action: Action
    outcome: Outcome
    automatic: bool
    attempts: int
    started_at: datetime
    seconds: float
    severity: Severity
    before: str = ""
    output: str = ""
    error: str = ""
    playbook: str = ""


# verifications ---------------------------------------------------------------------------------------------------


class VerificationFinished(Event, frozen=True, kw_only=True):
    """The judgement of before against after. `measured` is false when nothing could be seen: such a result moves no trust.

    `score` is the self-healing score, 0 to 1, and `parts` what it is made of: they add up to it, as far as it stays in its bounds.
    `cleared` is whether the alert itself is gone, or None when that is not known; `ground` what the verdict rests on; `held` for how
    many seconds a success was held before it was told, and `relapse` whether it was healed until then. `demands` are what its playbook
    asks for besides, and `touched` how many pods from before were gone or replaced; neither is written where it is not known.
    """

    topic: ClassVar[str] = "verifications"

    operation: str
    approval: str
    action: Action
    outcome: Outcome
    verdict: Verdict
    measured: bool
    summary: str
    judgements: tuple[Judgement, ...]
    before: str
    after: str
    score: float
    automatic: bool
    severity: Severity
    cleared: bool | None = None
    regressions: tuple[str, ...] = ()
    relapse: bool = False
    playbook: str = ""
    ground: Ground | None = None
    parts: dict[str, float] = {}
    held: float = 0.0
    demands: tuple[Demand, ...] | msgspec.UnsetType = msgspec.UNSET
    touched: int | msgspec.UnsetType = msgspec.UNSET


# failures --------------------------------------------------------------------------------------------------------


class FailureClassified(Event, frozen=True, kw_only=True):
    """A failed execution, a failed verification or a dead letter, put in its class by rule. `subject` is that event's id.

    `root_cause` is what a language model suspects, and is not written where none was asked; `confidence` is then its own.
    """

    topic: ClassVar[str] = "failures"

    subject: str
    failure: FailureClass
    risk: Risk
    confidence: float
    summary: str
    operation: str = ""
    root_cause: str | msgspec.UnsetType = msgspec.UNSET


class PeopleAsked(Event, frozen=True, kw_only=True):
    """Mendstream cannot or must not go on alone. `question` is what people are asked to decide or to do.

    `proposed` is an action that is put to them in it, such as a way back; it is never run by itself.
    """

    topic: ClassVar[str] = "failures"

    subject: str
    reason: str
    question: str
    severity: Severity = Severity.P2
    proposed: Action | None = None


class RepairWanted(Event, frozen=True, kw_only=True):
    """One automatic repair is wanted for a failed operation: propose looks again and tries it without doing it, then the gate decides.

    `subject` is the id of the event that told of the failure; the event's own id is that of the attempt in the store.
    """

    topic: ClassVar[str] = "failures"

    subject: str
    operation: str
    action: Action
    failure: FailureClass
    reason: str


class RepairNotProposed(Event, frozen=True, kw_only=True):
    """A repair that was wanted is not put forward, and why: its dry run stopped it, or what it is about is not there or well by now."""

    topic: ClassVar[str] = "failures"

    repair: str
    operation: str
    action: Action
    reason: str


class GroupOutage(Event, frozen=True, kw_only=True):
    """A consumer group has settled nothing of a topic for too long, although entries wait; or, not `stopped`, it does so again.

    The id is that of the outage in the store, or its cause where it is over. `waiting` entries wait, the oldest for `oldest` seconds.
    """

    topic: ClassVar[str] = "failures"

    group: str
    source_topic: str
    partition: int
    stopped: bool
    since: datetime
    waiting: int
    oldest: float


# lessons ---------------------------------------------------------------------------------------------------------


class TrustChanged(Event, frozen=True, kw_only=True):
    topic: ClassVar[str] = "lessons"

    pattern: str
    before: int
    after: int
    reason: str


class LessonLearned(Event, frozen=True, kw_only=True):
    """What happened when this action was tried on this kind of problem."""

    topic: ClassVar[str] = "lessons"

    lesson: str
    pattern: str
    action: Action
    verdict: Verdict
    summary: str


# timers: time is an event too ------------------------------------------------------------------------------------


class ApprovalDue(Event, frozen=True, kw_only=True):
    """Half of the time to sign is over, or all of it."""

    topic: ClassVar[str] = "timers"

    approval: str


class ExecutionRetryDue(Event, frozen=True, kw_only=True):
    """A transient failure waited long enough: try the approved action again."""

    topic: ClassVar[str] = "timers"

    approval: str
    attempt: int


class VerificationDue(Event, frozen=True, kw_only=True):
    """The world had time to settle: look again. `look` counts from 1; `until` is the last time to look."""

    topic: ClassVar[str] = "timers"

    finished: ExecutionFinished
    look: int
    until: datetime


class IncidentCloseDue(Event, frozen=True, kw_only=True):
    """The quiet time of a resolved incident is over."""

    topic: ClassVar[str] = "timers"


class IncidentIdleDue(Event, frozen=True, kw_only=True):
    """Nothing may have happened in an incident for too long: look when something last did."""

    topic: ClassVar[str] = "timers"


# dead letters ----------------------------------------------------------------------------------------------------


class DeadLettered(Event, frozen=True, kw_only=True):
    """An entry that a group could not handle, its bytes intact in `original` (base64 in JSON).

    `entry` is the stream id it had; `subject` the id of the event inside, where it could be read.
    """

    topic: ClassVar[str] = "dead"

    source_topic: str
    group: str
    entry: str
    reason: DeadReason
    error: str
    attempts: int
    original: bytes
    original_type: str = ""
    subject: str = ""
    traceback: str = ""


AnyEvent = (
    SignalReceived
    | IncidentOpened
    | IncidentUpdated
    | IncidentResolved
    | IncidentClosed
    | ActionProposed
    | ProposalOutdated
    | ApprovalRequested
    | ApprovalSigned
    | VoteRefused
    | ActionApproved
    | ActionRejected
    | ApprovalExpired
    | ApprovalWithdrawn
    | ActionHeld
    | VoteCast
    | FeedbackGiven
    | ExecutionStarted
    | ExecutionFinished
    | VerificationFinished
    | FailureClassified
    | PeopleAsked
    | RepairWanted
    | RepairNotProposed
    | GroupOutage
    | TrustChanged
    | LessonLearned
    | FeedbackKept
    | PlaybookChanged
    | ApprovalDue
    | ExecutionRetryDue
    | VerificationDue
    | IncidentCloseDue
    | IncidentIdleDue
    | DeadLettered
)
EVENT_TYPES: dict[str, type[Event]] = {kind.__name__: kind for kind in AnyEvent.__args__}
TOPICS: tuple[str, ...] = tuple(dict.fromkeys(kind.topic for kind in EVENT_TYPES.values()))
