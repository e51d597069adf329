"""What lies before an approver at a terminal: everything that one approval rests on, in the order in which a person decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ops.cli.advice import recommended
from ops.cli.console import duration, shown
from ops.facts.dossier import Dossier
from ops.facts.way_back import Now, Origin, WayBack
from schemas.action import describe, is_observation
from schemas.preflight import BlastRadius, Check
from schemas.words import ApprovalState, Source
from sql.approvals import ApprovalRow, SignatureRow
from sql.past import Past
from sql.recurrence import RecurrenceRow

_AS = "as somebody else than the user of this machine: --as NAME, with the token of [people.NAME] (MEND_PERSON_TOKEN, or asked for)"


def pages(dossier: Dossier, now: datetime) -> Iterator[tuple[str, Any]]:
    """Names and texts: what would be done, why, what it touches, what was seen and checked, what it changes, and who said what."""
    row, inputs = dossier.approval, dossier.approval.inputs
    proposal, ruling = _part(inputs, "proposal"), _part(inputs, "ruling")
    yield "action", describe(row.action)
    if row.unproven:
        yield "NOT PROVEN", f"{row.unproven}; look at the target yourself before you sign"
    yield "target", f"{row.target} in cluster {row.target.cluster}"
    yield "warning", _lines(f"{_spoken(check)}: {check.detail}" for check in row.checks if check.warning is True)
    yield "state", _state(row, now)
    yield "incident", row.incident
    if dossier.incident is not None:
        firing = f"{dossier.incident.firing} still firing" if dossier.incident.firing else "no longer firing"
        yield "problem", f"{row.severity.value}: {dossier.incident.title} ({', '.join(dossier.incident.alerts)}; {firing})"
    claims = ", as it claims" if row.unproven else ""
    yield f"why{claims}", _lines(proposal.get("reasons"))
    yield f"root cause{claims}", proposal.get("root_cause")
    yield "source", _source(row)
    yield "fits", _lines(_share(one) for one in _part(inputs, "playbook").get("similarity", ()))
    yield "nearly fits", _lines(_near_miss(one) for one in _part(inputs, "playbook").get("near", ()))
    yield "recommended", _lines(recommended(dossier.recommended))
    yield "risk", row.risk.value
    yield "decided by", f"rule {row.rule}, mode {row.mode.value}, trust {row.trust_score}"
    yield "because", _lines(ruling.get("reasons"))
    yield f"blast radius{claims}", _blast(row.blast)
    yield "evidence", _lines(dossier.evidence_in_short) if dossier.evidence else "none was taken"
    yield f"checks{claims}", _lines(_check(check) for check in row.checks)
    yield f"change{claims}", row.diff
    if not is_observation(row.action):
        yield "undone by", _undone_by(dossier.way_back)
        yield "to undo", _to_undo(dossier.way_back)
    yield "last times", _lines(_last_times(dossier.past, dossier.recurrence))
    yield "votes", _lines(_vote(vote) for vote in dossier.signatures)
    yield "target uid", row.target_uid
    yield "action hash", row.action_hash
    yield "approval", row.id
    if row.state is ApprovalState.WAITING:
        yield "to decide", f"mend approvals sign {row.id}   or   mend approvals reject {row.id}\n{_AS}"
    elif row.state is ApprovalState.APPROVED and row.finished_at is None:
        yield "to stop", f"mend approvals reject {row.id}   as long as it does not run"


def _undone_by(back: WayBack) -> str:
    if back.action is None:
        return f"nothing that Mendstream can do: {back.says}"
    return back.says if back.origin is Origin.STORED else f"{back.says}, as proposed when it had healed nothing"


def _to_undo(back: WayBack) -> str:
    """How the way back is put to the gate; empty where it cannot be."""
    when = {Now.NOT_YET: "once it was done; ", Now.DONE: "", Now.NEVER: ""}[back.now]
    if back.now is Now.NEVER and back.action is not None:
        return "nothing: it was not done"
    return f"{back.command}   {when}the gate decides, and another person signs" if back.command else ""


def _last_times(past: Past, recurrence: RecurrenceRow | None) -> Iterator[str]:
    """What became of the same before, newest first, and how often the problem came."""
    tried = f"done here before: {past.tried}; healed: {past.healed}; failed or not healed: {past.failed}"
    yield tried if past.tried else "never done here before"
    for row in past.rows:
        yield f"{shown(row.at)}: {row.what}: {row.verdict or row.outcome}"
    if recurrence is not None and recurrence.count > 1:
        ends = ", ".join(f"{count} {how.value.replace('_', ' ')}" for how, count in recurrence.dispositions.items() if count)
        yield f"this problem came {recurrence.count} times{f': {ends}' if ends else ''}"


def _part(inputs: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = inputs.get(name)
    return part if isinstance(part, Mapping) else {}


def _lines(words: Any) -> str:
    """One line for each; a line feed within one would look like another."""
    return "\n".join(" ".join(str(word).split()) for word in words or ())


def _state(row: ApprovalRow, now: datetime) -> str:
    among = f" with {', '.join(row.roles)} among them" if row.roles else ""
    signatures = f"{row.state.value}, {len(row.signers)} of {row.needed} signatures{among}"
    if row.state is not ApprovalState.WAITING:
        return f"{signatures}, decided {shown(row.decided_at)}" if row.decided_at else signatures
    left = (row.expires_at - now).total_seconds()
    ends = f"{shown(row.expires_at)}, {f'in {duration(left)}' if left > 0 else 'which has passed'}"
    return f"{signatures}, asked {shown(row.requested_at)}, expires {ends}"


def _source(row: ApprovalRow) -> str:
    inputs = row.inputs
    source = str(inputs.get("source", "unknown"))
    named = f"a language {source} ({inputs.get('provider')}), which decides nothing" if source == Source.MODEL else source
    words = [named, f"proposed by {row.proposer}"]
    if row.playbook:
        version = f" version {row.playbook_version}" if row.playbook_version else ""
        words.append(f"playbook {row.playbook}{version}")
    if isinstance(confidence := inputs.get("confidence"), int | float):
        words.append(f"confidence {confidence:.2f}")
    return ", ".join([*words, *(["from cache"] if inputs.get("cached") else [])])


def _share(one: Mapping[str, Any]) -> str:
    return f"{one.get('part')}: {one.get('share'):g} of 1, weight {one.get('weight'):g}: {one.get('why')}"


def _near_miss(one: Mapping[str, Any]) -> str:
    return f"playbook {one.get('playbook')} version {one.get('version')}, {one.get('similarity'):.2f}: {one.get('why')}"


def _blast(blast: BlastRadius | None) -> str:
    if blast is None:
        return "not measured"
    budget = f", a budget allows {blast.budget_headroom} of them to be away" if blast.budget_headroom is not None else ""
    lines = [
        f"{blast.score} of 100, tier {blast.tier.value}",
        f"{blast.pods} pods, {blast.replicas} replicas{budget}; services {', '.join(blast.services) or 'none'}",
        f"data {blast.data_impact.replace('_', ' ')}; {f'about {duration(blast.downtime)} of' if blast.downtime else 'no'} downtime",
    ]
    return "\n".join([*lines, *([f"not measured: {', '.join(blast.unmeasured)}"] if blast.unmeasured else [])])


def _check(check: Check) -> str:
    lacking = f"; missing: {check.missing}" if check.missing else ""
    warned = ", with a warning" if check.warning is True else ""
    return f"{check.result.value}{warned}: {_spoken(check)}: {check.detail}{lacking}"


def _spoken(check: Check) -> str:
    return check.name.replace("_", " ")


def _vote(vote: SignatureRow) -> str:
    said = f": {vote.comment}" if vote.comment else ""
    return f"{vote.person}: {vote.choice.value}{said} ({shown(vote.at)} from {vote.origin})"
