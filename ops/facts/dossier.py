"""Everything that one approval rests on, and everything about one incident, from the stores."""

from __future__ import annotations

import msgspec

from ops.errors import NoSuchApproval, NoSuchIncident
from ops.facts.learning import Advice, advice_of
from ops.facts.way_back import WayBack, find_way_back
from schemas.evidence import Snapshot
from schemas.in_short import in_short
from sql.approvals import ApprovalRow, SignatureRow, get_approval, list_approvals, signatures_of
from sql.database import Database
from sql.declarations import DeclarationRow, declarations_of
from sql.diagnoses import DiagnosisRow, diagnoses_of
from sql.evidence import EvidenceRow, evidence_of, get_snapshot
from sql.feedback import FeedbackRow, feedback_of
from sql.incidents import IncidentRow, TimelineRow, get_incident, timeline
from sql.past import Past, last_times, recurrence_of
from sql.recurrence import RecurrenceRow
from sql.repairs import recommend, repairs_of


class Dossier(msgspec.Struct, frozen=True, kw_only=True):
    """One approval, its votes, its way back, its incident and the snapshot that it rests on; these two may be unknown.

    `past` is what became of the same action on the same target before, `recurrence` how often the incident's problem came.

    `evidence_in_short` is the snapshot in lines for people, `recommended` what has mended this problem before.
    """

    approval: ApprovalRow
    way_back: WayBack
    signatures: tuple[SignatureRow, ...]
    incident: IncidentRow | None
    evidence: Snapshot | None
    evidence_in_short: list[str] = []
    recommended: Advice = Advice()
    past: Past = Past()
    recurrence: RecurrenceRow | None = None


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """One incident with what was asked of people about it (newest first), what was seen and what was done (oldest first).

    Of what was seen, these are the newest five looks of each kind: for the proposal, before the action, after it. `diagnoses` are what was
    taken to be wrong and whether that was borne out, `declarations` what was declared to follow and what of it did, `feedback` what
    people said of how it was handled; each oldest first.
    """

    incident: IncidentRow
    approvals: list[ApprovalRow]
    evidence: list[EvidenceRow]
    timeline: list[TimelineRow]
    diagnoses: list[DiagnosisRow] = []
    declarations: list[DeclarationRow] = []
    feedback: list[FeedbackRow] = []


async def story_of(database: Database, incident: str) -> Story:
    """Everything about one incident. Raises NoSuchIncident, StoreUnavailable."""
    async with database.connection() as connection:
        row = await get_incident(connection, incident)
        if row is None:
            raise NoSuchIncident(f"there is no incident {incident}: `mend incidents ls` lists them")
        return Story(
            incident=row,
            approvals=await list_approvals(connection, incident=incident),
            evidence=await evidence_of(connection, incident),
            timeline=await timeline(connection, incident),
            diagnoses=await diagnoses_of(connection, incident),
            declarations=await declarations_of(connection, incident),
            feedback=await feedback_of(connection, incident),
        )


async def dossier_of(database: Database, approval: str) -> Dossier:
    """Everything about one approval. Raises NoSuchApproval, StoreUnavailable."""
    async with database.connection() as connection:
        row = await get_approval(connection, approval)
        if row is None:
            raise NoSuchApproval(f"there is no approval {approval}: `mend approvals ls --state all` lists them")
        evidence = await get_snapshot(connection, row.evidence) if row.evidence else None
        return Dossier(
            approval=row,
            way_back=await find_way_back(connection, row),
            signatures=tuple(await signatures_of(connection, approval)),
            incident=await get_incident(connection, row.incident) if row.incident else None,
            evidence=evidence,
            evidence_in_short=in_short(evidence) if evidence else [],
            recommended=advice_of(recommend(await repairs_of(connection, row.incident)), row.target.kind),
            past=await last_times(connection, row),
            recurrence=await recurrence_of(connection, row.incident),
        )
