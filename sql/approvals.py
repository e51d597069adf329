"""Approvals and their signatures: the rows that `execute` believes, and the locks that keep decisions about them apart.

Every function takes the connection of the caller's transaction; StoreUnavailable comes from `Database`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from schemas.action import Action, is_observation
from schemas.events import VoteCast
from schemas.preflight import BlastRadius, Check
from schemas.target import Target
from schemas.words import ApprovalState, Choice, Mode, Risk, Severity
from sql.database import Connection, Row


class ApprovalRow(msgspec.Struct, frozen=True, kw_only=True):
    """One request to people, or one automatic permission.

    `action_hash` and `target_uid` bind it to one exact action on one object. `expires_at` ends the present state: the time
    to sign while it waits, the time to begin once it is approved. `place` is the key of the incident's target. `signers` are
    the people who signed, first one first. `inputs` is all that the decision rested on; `basis` a hash of what the action changes,
    as it was when it was proposed. `roles` must be among those who sign; `cooled` are the rules with a cooldown that are about it.
    `escalated` counts how often the time to sign was given anew, `reminded_at` is within the present one.
    """

    id: str
    proposal: str
    incident: str
    place: str
    action: Action
    action_hash: str
    target: Target
    target_uid: str
    severity: Severity
    risk: Risk
    needed: int
    state: ApprovalState
    expires_at: datetime
    requested_at: datetime
    automatic: bool
    proposer: str
    rule: str
    mode: Mode
    trust_score: int
    inputs: dict[str, Any]
    evidence: str
    decided_at: datetime | None = None
    finished_at: datetime | None = None
    inverse: Action | None = None
    diff: str = ""
    checks: tuple[Check, ...] = ()
    blast: BlastRadius | None = None
    playbook: str = ""
    signers: tuple[str, ...] = ()
    basis: str = ""
    roles: tuple[str, ...] = ()
    cooled: tuple[str, ...] = ()
    escalated: int = 0
    reminded_at: datetime | None = None

    @property
    def playbook_version(self) -> int:
        """Which version of its playbook it rests on; 0 where it rests on none, or on one of which the version was not told."""
        version = self.inputs.get("playbook", {}).get("version", 0)
        return version if isinstance(version, int) else 0

    @property
    def by_person(self) -> bool:
        """Whether a person proposed it, and proved to be that person: it may be about an incident that is over."""
        return bool(self.inputs.get("situation", {}).get("person"))

    def outranked(self, severity: Severity) -> str:
        """Why too few may have agreed to it, where its incident has this severity by now; empty where it is no worse."""
        if severity >= self.severity:
            return ""
        return f"its incident is {severity.value} now, and was {self.severity.value} when it was decided who must agree"

    @property
    def unproven(self) -> str:
        """What whoever signs must know of a proposal that nobody is proven to have made; empty for a proven one."""
        if self.inputs.get("situation", {}).get("proven"):
            return ""
        return "nothing proves that Mendstream or a person made this proposal: all that it says of itself is its own claim"


class SignatureRow(msgspec.Struct, frozen=True, kw_only=True):
    """One person's signature or rejection: who, when, where from, and what they said.

    `vote` is the id of the vote's event, `roles` are those of the person when it counted.
    """

    approval: str
    person: str
    choice: Choice
    vote: str
    at: datetime
    origin: str
    comment: str
    told_by: str
    roles: tuple[str, ...] = ()


_action = msgspec.json.Decoder(Action)
_checks = msgspec.json.Decoder(tuple[Check, ...])
_blast = msgspec.json.Decoder(BlastRadius)
_inputs = msgspec.json.Decoder(dict[str, Any])

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('approvals/' || name, 0)) FROM unnest($1::text[]) AS name"
_SIGNERS = (
    "ARRAY(SELECT s.person FROM approval_signatures s WHERE s.approval = a.id AND s.choice = 'sign' ORDER BY s.at, s.vote) AS signers"
)
_READ = f"SELECT a.*, {_SIGNERS} FROM approvals a"
_INSERT = """
INSERT INTO approvals (
    id, proposal, incident, place, target_key, target_uid, action, action_hash, observation, severity, risk, needed, state, automatic,
    requested_at, expires_at, decided_at, proposer, rule, mode, trust_score, inputs, inverse, diff, checks, blast, evidence, playbook,
    basis, roles, cooled
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27,
    $28, $29, $30, $31)
"""
_SIGN = """
INSERT INTO approval_signatures (approval, signer, person, choice, vote, at, origin, comment, told_by, roles)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (approval, signer) DO UPDATE
    SET person = $3, choice = $4, vote = $5, at = $6, origin = $7, comment = $8, told_by = $9, roles = $10
    WHERE approval_signatures.choice = 'sign' AND excluded.choice = 'reject'
RETURNING vote
"""
_COUNTED = """
SELECT EXISTS (SELECT FROM approval_signatures WHERE vote = $1 OR (approval = $2 AND signer = $3 AND choice = 'reject' AND at > $4))
"""
_SETTLE = """
UPDATE approvals SET state = $2, decided_at = $3, expires_at = coalesce($4, expires_at)
WHERE id = $1 AND (state = 'waiting' OR (state = 'approved' AND $2 = 'rejected')) RETURNING id
"""
_BUSY = """
SELECT id FROM (
    SELECT a.id, a.requested_at FROM approvals a
    WHERE (place = $1 OR target_key = $2) AND NOT observation AND finished_at IS NULL
      AND state IN ('waiting', 'approved') AND expires_at > $3
      AND CASE state
          WHEN 'waiting' THEN NOT EXISTS (SELECT FROM incidents i WHERE i.id = a.incident AND i.severity < a.severity)
            AND (NOT $4 OR coalesce((inputs::json #>> '{situation,proven}')::boolean, false))
          ELSE coalesce((inputs::json #>> '{situation,person}')::boolean, false)
            OR EXISTS (SELECT FROM incidents i WHERE i.id = a.incident AND i.state IN ('INVESTIGATING', 'MITIGATING'))
          END
    UNION ALL
    SELECT a.id, a.requested_at FROM operations o JOIN approvals a ON a.id = o.approval
    WHERE o.state = 'running' AND (a.place = $1 OR a.target_key = $2) AND NOT a.observation AND a.expires_at > $3
) AS busy
ORDER BY requested_at LIMIT 1
"""
_AUTOMATIC = """
SELECT count(*) FILTER (WHERE requested_at > $1) AS everywhere,
       count(*) FILTER (WHERE requested_at > $2 AND (place = $3 OR target_key = $4)) AS here
FROM approvals WHERE automatic AND NOT observation AND requested_at > least($1, $2)
"""


_OF_RULE = """
SELECT count(*) FROM approvals
WHERE automatic AND NOT observation AND requested_at > $1 AND $2 = ANY(cooled) AND ($4 = '' OR place = $3 OR target_key = $4)
"""


def fold_name(person: str) -> str:
    """The one form under which all spellings of a person's name count as the same person."""
    return " ".join(unicodedata.normalize("NFKC", person).split()).casefold()


async def take_lock(connection: Connection, *names: str) -> None:
    """Waits for the advisory locks of these names, in this order, and keeps them until the transaction ends."""
    await connection.execute(_LOCK, list(names))


async def create_approval(connection: Connection, row: ApprovalRow) -> None:
    """Keeps a new row; signatures are added by `add_signature` only."""
    await connection.execute(
        _INSERT,
        *(row.id, row.proposal, row.incident, row.place, row.target.key, row.target_uid, _text(row.action), row.action_hash),
        *(is_observation(row.action), row.severity.value, row.risk.value, row.needed, row.state.value, row.automatic),
        *(row.requested_at, row.expires_at, row.decided_at, row.proposer, row.rule, row.mode.value, row.trust_score),
        *(_text(row.inputs), _text(row.inverse) if row.inverse else None, row.diff, _text(row.checks)),
        *(_text(row.blast) if row.blast else None, row.evidence, row.playbook, row.basis),
        *(list(row.roles), list(row.cooled)),
    )


async def get_approval(connection: Connection, id: str, *, lock: bool = False) -> ApprovalRow | None:  # noqa: A002
    """The approval, or None; `lock` keeps other writers of the row out until the transaction ends."""
    if lock:
        # A statement of its own: the one that waited for the lock would still see the signatures of before the wait.
        await lock_approval(connection, id)
    row = await connection.fetchrow(f"{_READ} WHERE a.id = $1", id)
    return _row(row) if row else None


async def lock_approval(connection: Connection, id: str) -> None:  # noqa: A002
    """Keeps other writers of the approval out until the transaction ends."""
    await connection.execute("SELECT 1 FROM approvals WHERE id = $1 FOR UPDATE", id)


async def get_by_proposal(connection: Connection, proposal: str) -> str | None:
    """The id of the approval that a proposal led to, or None."""
    found: str | None = await connection.fetchval("SELECT id FROM approvals WHERE proposal = $1", proposal)
    return found


async def list_approvals(
    connection: Connection, *, states: Sequence[ApprovalState] = (), incident: str = "", limit: int = 100, after: str = ""
) -> list[ApprovalRow]:
    """The newest `limit` approvals in these states (all states when empty), of one incident and after the one `after` where given."""
    rows = await connection.fetch(
        f"{_READ} WHERE (cardinality($1::text[]) = 0 OR a.state = ANY($1)) AND ($2 = '' OR a.incident = $2)"
        " AND ($4 = '' OR (a.requested_at, a.id) < (SELECT requested_at, id FROM approvals WHERE id = $4))"
        " ORDER BY a.requested_at DESC, a.id DESC LIMIT $3",
        [state.value for state in states],
        incident,
        limit,
        after,
    )
    return [_row(row) for row in rows]


async def waiting_of(connection: Connection, incident: str) -> list[ApprovalRow]:
    """The incident's approvals that wait for signatures, oldest first, locked until the transaction ends."""
    await connection.execute("SELECT 1 FROM approvals WHERE incident = $1 AND state = 'waiting' ORDER BY id FOR UPDATE", incident)
    rows = await connection.fetch(f"{_READ} WHERE a.incident = $1 AND a.state = 'waiting' ORDER BY a.requested_at, a.id", incident)
    return [_row(row) for row in rows]


async def settle_approval(
    connection: Connection,
    id: str,  # noqa: A002
    state: ApprovalState,
    *,
    at: datetime,
    expires_at: datetime | None = None,
) -> bool:
    """waiting → `state`, or approved → rejected; a new `expires_at` where one is given. False when it had ended: nothing was changed."""
    return await connection.fetchval(_SETTLE, id, state.value, at, expires_at) is not None


async def remind_approval(connection: Connection, id: str, *, at: datetime) -> None:  # noqa: A002
    """Remembers that people were reminded within the present time to sign."""
    await connection.execute("UPDATE approvals SET reminded_at = $2 WHERE id = $1", id, at)


async def escalate_approval(connection: Connection, id: str, *, expires_at: datetime) -> None:  # noqa: A002
    """Gives what waits another time to sign, for those who are asked next."""
    await connection.execute(
        "UPDATE approvals SET escalated = escalated + 1, expires_at = $2, reminded_at = NULL WHERE id = $1 AND state = 'waiting'",
        id,
        expires_at,
    )


async def finish_approval(connection: Connection, id: str, *, at: datetime) -> None:  # noqa: A002
    """Remembers that the approved action has ended, however it did: its target is free again."""
    await connection.execute("UPDATE approvals SET finished_at = $2 WHERE id = $1 AND finished_at IS NULL", id, at)


async def add_signature(connection: Connection, signature: SignatureRow) -> bool:
    """Keeps a signature or rejection. False when this person has voted already: nothing was changed.

    Only one who signed may still change his mind and reject: the rejection takes the signature's place.
    """
    kept = await connection.fetchval(
        _SIGN,
        *(signature.approval, fold_name(signature.person), signature.person, signature.choice.value, signature.vote),
        *(signature.at, signature.origin, signature.comment, signature.told_by, list(signature.roles)),
    )
    return kept is not None


async def is_counted(connection: Connection, vote: VoteCast) -> bool:
    """Whether this very vote was counted, or the rejection by which the same person took its place."""
    return bool(await connection.fetchval(_COUNTED, vote.id, vote.approval, fold_name(vote.person), vote.at))


async def signatures_of(connection: Connection, approval: str) -> list[SignatureRow]:
    """Signatures and rejections of one approval, first one first."""
    rows = await connection.fetch("SELECT * FROM approval_signatures WHERE approval = $1 ORDER BY at, vote", approval)
    return [_signature(row) for row in rows]


async def busy_with(connection: Connection, *, place: str, target: str, now: datetime, proven: bool) -> str | None:
    """The oldest approval that waits, or is approved and not finished, for the incident's target or the action's; observations aside.

    One that was approved and had not begun when its incident ended is not begun any more, and keeps nobody away; nor does one that waits
    and cannot be signed any more, for its incident became more severe, and one that waits and is not proven keeps no `proven` proposal
    away. One that was begun does so until it has ended, also when it was rejected meanwhile.
    """
    busy: str | None = await connection.fetchval(_BUSY, place, target, now, proven)
    return busy


async def automatic_since(connection: Connection, *, everywhere: datetime, here: datetime, place: str, target: str) -> tuple[int, int]:
    """Automatic actions permitted since `everywhere` on any target, and since `here` on this one; observations aside."""
    row = await connection.fetchrow(_AUTOMATIC, everywhere, here, place, target)
    return (row["everywhere"], row["here"]) if row else (0, 0)


async def automatic_of_rule(connection: Connection, rule: str, *, since: datetime, place: str = "", target: str = "") -> int:
    """Automatic actions permitted since then that a rule with a cooldown is about: on this target, or on all where none is given."""
    count: int = await connection.fetchval(_OF_RULE, since, rule, place, target)
    return count


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _row(row: Row) -> ApprovalRow:
    action = _action.decode(row["action"])
    plain = {name: row[name] for name in ("id", "proposal", "incident", "place", "action_hash", "target_uid", "needed", "expires_at")}
    plain |= {name: row[name] for name in ("requested_at", "automatic", "proposer", "rule", "trust_score", "evidence", "decided_at")}
    plain |= {name: row[name] for name in ("finished_at", "diff", "playbook", "basis", "escalated", "reminded_at")}
    return ApprovalRow(
        **plain,
        action=action,
        target=action.target,
        severity=Severity(row["severity"]),
        risk=Risk(row["risk"]),
        state=ApprovalState(row["state"]),
        mode=Mode(row["mode"]),
        inputs=_inputs.decode(row["inputs"]),
        inverse=_action.decode(row["inverse"]) if row["inverse"] else None,
        checks=_checks.decode(row["checks"]),
        blast=_blast.decode(row["blast"]) if row["blast"] else None,
        signers=tuple(row["signers"]),
        roles=tuple(row["roles"]),
        cooled=tuple(row["cooled"]),
    )


def _signature(row: Row) -> SignatureRow:
    fields = {name: row[name] for name in ("approval", "person", "vote", "at", "origin", "comment", "told_by")}
    return SignatureRow(choice=Choice(row["choice"]), roles=tuple(row["roles"]), **fields)
