"""The card of an incident: what it says and which buttons it has follows from the facts of the store, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from adapters.ports import Card, CardButton, CardLine
from schemas.action import is_observation
from schemas.in_short import in_short
from schemas.preflight import BlastRadius
from schemas.text import clean
from schemas.words import ApprovalState, CheckResult, Choice, Disposition, IncidentState, Language, Outcome, Source
from sql.approvals import ApprovalRow, SignatureRow
from sql.attempts import TRIED, AttemptRow
from sql.card_facts import CardFacts, HeldRow
from sql.past import Past
from sql.problems import usual_repairs
from sql.repairs import LEAST_RATE, LEAST_SAMPLES, Repair
from stages.notify.facts import changes_of, check_in, reasons_of, reverted_by, undone_by, unproven_in
from stages.notify.text import line_of, outcome_in, people_in, verdict_in
from stages.notify.texts import action_in, say

_ALERTS = 5
_CHECKS = 6
_NEAR = 3
_SEEN = 6
_TRIED = 6
_TITLE = 140  # characters
_TEXT = 500
_CHANGE = 200


def card_of(facts: CardFacts, language: Language) -> Card:
    """The card, its texts cleaned and bounded. It has buttons only for what a press could still do."""
    incident, row = facts.incident, facts.approval
    lines = [(say(language, "card.incident"), incident.title), (say(language, "card.problem"), _problem(facts, language))]
    change: list[str] = []
    if (held := _held(facts)) is not None:
        lines.append((say(language, "card.held"), say(language, "held_by", what=action_in(language, held.action), rule=held.rule)))
    if row is not None:
        lines += [(say(language, f"card.{label}"), text) for label, text in _decision(row, facts, language)]
        change = [clean(line, _CHANGE) for line in _change(row, language)]
    lines += [(say(language, f"card.{label}"), text) for label, text in _end(facts, language)]
    return Card(
        title=line_of(f"{incident.severity.value} · {state_of(facts, language)}", _TITLE),
        lines=tuple(CardLine(label, line_of(text, _TEXT)) for label, text in lines if text),
        change=tuple(change),
        change_label=say(language, "card.change") if change else "",
        buttons=tuple(_buttons(facts, language)),
    )


def state_of(facts: CardFacts, language: Language) -> str:
    """How it stands, in a few words."""
    incident, row = facts.incident, facts.approval
    if row is not None and row.state is ApprovalState.WAITING and _is_alive(facts):
        return say(language, "state.waiting", signed=len(row.signers), needed=row.needed)
    if incident.state in (IncidentState.RESOLVED, IncidentState.CLOSED):
        how = say(language, f"how.{incident.disposition or Disposition.SELF_RESOLVED}")
        return say(language, f"state.{incident.state.lower()}", how=how)
    if (held := _held(facts)) is not None and (row is None or _has_ended(facts)):
        return say(language, "state.held", rule=held.rule)
    if row is not None and not is_observation(row.action):
        return _state_of_action(row, facts, language)
    return say(language, "state.people" if facts.question else "state.investigating")


def _state_of_action(row: ApprovalRow, facts: CardFacts, language: Language) -> str:
    if facts.verification is not None:
        return verdict_in(language, facts.verification)
    if facts.execution is not None:
        return outcome_in(language, facts.execution.outcome)
    return say(language, "state.running" if facts.running else f"state.{row.state}")


def _held(facts: CardFacts) -> HeldRow | None:
    """The proposal that the gate held after the approval that the card shows; None where there is none."""
    held, row = facts.held, facts.approval
    return held if held is not None and (row is None or row.requested_at <= held.at) else None


def _has_ended(facts: CardFacts) -> bool:
    """Whether nothing more will be done by the approval that the card shows."""
    row = facts.approval
    if row is None or row.state not in (ApprovalState.WAITING, ApprovalState.APPROVED):
        return True
    return row.finished_at is not None or facts.execution is not None


def _is_alive(facts: CardFacts) -> bool:
    """Whether a vote could still count; what a person proposes may be about an incident that is over."""
    return facts.incident.is_open or (facts.approval is not None and facts.approval.by_person)


def _buttons(facts: CardFacts, language: Language) -> Iterator[CardButton]:
    row = facts.approval
    if row is None or not _is_alive(facts):
        return
    if row.state is ApprovalState.WAITING:
        yield CardButton(say(language, "button.sign"), Choice.SIGN, row.id)
        yield CardButton(say(language, "button.reject"), Choice.REJECT, row.id)
    elif not (_has_ended(facts) or facts.running or is_observation(row.action)):
        yield CardButton(say(language, "button.stop"), Choice.REJECT, row.id)


def _problem(facts: CardFacts, language: Language) -> str:
    incident = facts.incident
    alerts = ", ".join([*incident.alerts[:_ALERTS], *(["…"] if len(incident.alerts) > _ALERTS else [])])
    times = facts.recurrence.count if facts.recurrence else 1
    target = f"{incident.target} ({incident.target.cluster})"
    return say(language, "problem.again" if times > 1 else "opened.about", alerts=alerts, alert=alerts, target=target, times=times)


def _decision(row: ApprovalRow, facts: CardFacts, language: Language) -> Iterator[tuple[str, str]]:
    """What an approver needs, in the order in which a person decides."""
    yield "action", action_in(language, row.action)
    if row.unproven:
        yield "warning", unproven_in(row, language)
    if reverted := reverted_by(row, language):
        yield "warning", reverted
    for check in row.checks:
        if check.warning is True:
            yield "warning", check_in(check, language)
    if objection := _part(row.inputs, "situation").get("objection"):
        yield "warning", say(language, "objection", objection=objection)
    cause = _part(row.inputs, "proposal").get("root_cause")
    why = [*reasons_of(row), *([say(language, "root_cause", cause=cause)] if cause else [])]
    yield "claim" if row.unproven else "why", "; ".join(why)
    yield "source", _source(row, language)
    yield "near", _near(row)
    yield "recommended", _recommended(facts, language)
    yield "decided", _decided(row, language)
    if row.state is ApprovalState.WAITING:
        yield "until", f"{row.expires_at:%Y-%m-%d %H:%M} UTC"
    yield "votes", "; ".join(_vote(vote, language) for vote in facts.votes)
    yield "reach", _reach(row.blast, language)
    for line in _seen(row, facts, language):
        yield "seen", line
    yield "checks", _checks(row, language)
    yield "undo", undone_by(row, language)
    yield "past", _past(facts.past, facts, language)


def _source(row: ApprovalRow, language: Language) -> str:
    inputs = row.inputs
    confidence = inputs.get("confidence")
    source = " ".join(dict.fromkeys(str(inputs.get(name, "")) for name in ("source", "provider"))).strip()
    if inputs.get("source") == Source.MODEL:
        source = say(language, "source.model", provider=inputs.get("provider"))
    words = {
        "source": source,
        "proposer": row.proposer,
        "confidence": f"{confidence:.2f}" if isinstance(confidence, int | float) else "?",
    }
    said = [say(language, "source", **words)]
    playbook = _part(inputs, "playbook")
    if row.playbook:
        key = "source.version" if playbook.get("version") else "source.playbook"
        said.append(say(language, key, playbook=row.playbook, version=playbook.get("version")))
    if parts := playbook.get("similarity"):
        said.append(say(language, "source.similar", similarity=_similarity(parts)))
    return ", ".join([*said, *([say(language, "source.cached")] if inputs.get("cached") else [])])


def _similarity(parts: Sequence[Mapping[str, Any]]) -> str:
    """The similarity to the playbook's symptoms, and how much of each part it is made of."""
    total = sum(part.get("weight", 0) * part.get("share", 0) for part in parts)
    made_of = ", ".join(f"{part.get('part')} {part.get('share', 0):.2f}" for part in parts)
    return f"{total:.2f} ({made_of})"


def _near(row: ApprovalRow) -> str:
    """Playbooks that nearly fitted, and what they lacked."""
    near = _part(row.inputs, "playbook").get("near", ())
    return "; ".join(f"{one.get('playbook')} {one.get('similarity', 0):.2f}: {one.get('why')}" for one in near[:_NEAR])


def _recommended(facts: CardFacts, language: Language) -> str:
    """What has mended this problem before, the best first, or that too little is known of it."""
    found, kind = facts.recommended, facts.incident.target.kind
    if not found.tried:
        return say(language, "recommended.unknown") if usual_repairs(kind) else ""
    if not found.repairs:
        return say(language, "recommended.nothing", tried=found.tried, least=LEAST_SAMPLES, rate=f"{LEAST_RATE:.0%}")
    return "; ".join(_repair(one, language) for one in found.repairs)


def _repair(one: Repair, language: Language) -> str:
    """How one kind of action has ended, and how sure that is."""
    sure = one.sure.interval
    rate, low, high = f"{one.rate:.0%}", f"{sure.low:.0%}", f"{sure.high:.0%}"
    return say(language, "recommended", verb=one.verb, healed=one.successes, tried=one.samples, rate=rate, low=low, high=high)


def _seen(row: ApprovalRow, facts: CardFacts, language: Language) -> list[str]:
    """The first lines of the evidence in short."""
    if facts.evidence is None:
        return [say(language, "seen.none")]
    lines = in_short(facts.evidence)
    more = [say(language, "seen.more", approval=row.id)] if len(lines) > _SEEN else []
    return [*lines[:_SEEN], *more]


def _part(inputs: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = inputs.get(name)
    return part if isinstance(part, Mapping) else {}


def _decided(row: ApprovalRow, language: Language) -> str:
    ruling = _part(row.inputs, "ruling")
    before, after = str(ruling.get("risk_before", row.risk.value)), row.risk.value
    people = people_in(language, row.needed)
    words = {"rule": row.rule, "mode": row.mode.value, "trust": row.trust_score, "before": before, "after": after, "people": people}
    said = say(language, "decided" if before == after else "decided.lowered", **words)
    roles = ruling.get("roles")
    return say(language, "decided.roles", decided=said, roles=", ".join(roles)) if roles else said


def _vote(vote: SignatureRow, language: Language) -> str:
    said = say(language, f"vote.{vote.choice}", person=vote.person)
    return say(language, "vote.said", vote=said, comment=vote.comment) if vote.comment else said


def _reach(blast: BlastRadius | None, language: Language) -> str:
    if blast is None:
        return say(language, "reach.unknown")
    plain = msgspec.structs.asdict(blast) | {"tier": blast.tier.value, "data": blast.data_impact.replace("_", " ")}
    plain |= {"services": ", ".join(blast.services) or say(language, "none"), "downtime": f"{blast.downtime:g}"}
    said = say(language, "reach", **plain)
    lacking = say(language, "reach.unmeasured", what=", ".join(blast.unmeasured)) if blast.unmeasured else ""
    return f"{said}; {lacking}" if lacking else said


def _checks(row: ApprovalRow, language: Language) -> str:
    """What was not found to be well; empty where all was."""
    if not row.checks:
        return say(language, "check.none")
    found = [check_in(check, language) for check in row.checks if check.result is not CheckResult.PASSED]
    return "; ".join([*found[:_CHECKS], *(["…"] if len(found) > _CHECKS else [])])


def _change(row: ApprovalRow, language: Language) -> list[str]:
    lines, more = changes_of(row)
    return [*lines, *([say(language, "more.changes", count=more, approval=row.id)] if more else [])]


def _past(past: Past, facts: CardFacts, language: Language) -> str:
    said = [say(language, "past.never")]
    if past.tried:
        said = [say(language, "past.counted", tried=past.tried, healed=past.healed, failed=past.failed)]
    for row in past.rows:
        said.append(say(language, "past.one", at=f"{row.at:%Y-%m-%d}", what=row.what, result=row.verdict or row.outcome))
    again = facts.recurrence
    if again is not None and again.count > 1:
        ends = again.dispositions
        said.append(
            say(
                language,
                "past.recurred",
                count=again.count,
                auto=ends[Disposition.AUTO_REPAIRED],
                approved=ends[Disposition.HUMAN_APPROVED],
                rejected=ends[Disposition.REJECTED],
                gone=ends[Disposition.SELF_RESOLVED],
            )
        )
    return "; ".join(said)


def _end(facts: CardFacts, language: Language) -> Iterator[tuple[str, str]]:
    """What became of it, what people were asked, and where all of it is told."""
    row = facts.approval
    if facts.execution is not None and row is not None:
        execution = facts.execution
        error = execution.error if execution.outcome is not Outcome.SUCCEEDED else ""
        yield "outcome", ": ".join(filter(None, (outcome_in(language, execution.outcome), error)))
    if facts.verification is not None and row is not None and not is_observation(row.action):
        yield "outcome", f"{verdict_in(language, facts.verification)}: {facts.verification.summary}"
    if facts.question is not None and facts.incident.is_open:
        yield "people", f"{facts.question.reason}. {facts.question.question.partition(TRIED)[0]}"
        for attempt in facts.attempts[-_TRIED:]:
            yield "tried", _attempt(attempt, language)
    show = f"mend approvals show {row.id}" if row is not None else ""
    yield "more", ", ".join(filter(None, (f"mend incidents show {facts.incident.id}", show)))


def _attempt(row: AttemptRow, language: Language) -> str:
    """One attempt: when, what, how it ended, by whom."""
    ended = outcome_in(language, Outcome(row.outcome)) if row.outcome else row.state
    who = say(language, "tried.alone")
    if row.signers:
        who = say(language, "tried.rejected" if row.state == "rejected" else "tried.signed", people=", ".join(row.signers))
    result = ", ".join(filter(None, (ended, row.verdict)))
    return say(language, "tried.one", at=f"{row.at:%m-%d %H:%M}", what=action_in(language, row.action), result=result, who=who)
