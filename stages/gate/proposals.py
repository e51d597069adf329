"""One proposal, decided: measure the situation under locks, rule on it, keep the decision and the approval together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from bus.handler import Context
from schemas.action import action_hash, describe, is_observation, pattern_of
from schemas.event import Output
from schemas.events import ActionApproved, ActionHeld, ActionProposed, ApprovalDue, ApprovalRequested, PeopleAsked
from schemas.target import Target
from schemas.text import clean
from schemas.words import ApprovalState, Mode, Risk, Severity, Source
from sql import approvals, decisions, incidents, trust
from sql.approvals import ApprovalRow
from sql.database import Connection
from sql.evidence import get_snapshot
from sql.outbox import has_told
from sql.questions import may_ask
from stages.gate.options import GateOptions
from stages.gate.playbook import within_playbook
from stages.gate.policy import PEOPLE_RULES, Ruling, Situation, Traffic, is_related, is_storm, rule_on, storm_said, worst
from stages.gate.rules import Policy
from stages.gate.votes import VoteKeys
from stages.stopped import wait_while_stopped

_PROPOSER = "propose"  # the stage whose kept outputs prove a proposal
_REASON_LIMIT = 1000  # characters
_DIFF_LIMIT = 16_000
_SHORT_DIFF = 4_000
_RAISE_ONLY = (Source.MODEL, Source.PLAYBOOK, Source.REPAIR)
_PARTS = 10  # of a similarity, and near misses, that are kept


async def decide_proposal(
    event: ActionProposed, context: Context, connection: Connection, *, options: GateOptions, keys: VoteKeys, policy: Policy
) -> Sequence[Output]:
    """The events that tell what was decided; the rows are in the transaction of `connection`. Raises Retry while Mendstream is stopped."""
    if await decisions.is_decided(connection, event.id):
        return []  # decided, and so long ago that what was told of it is forgotten
    switch = await wait_while_stopped(connection)
    person = event.source is Source.PERSON and keys.verify_proposal(event)
    place, situation = await _measure(event, context, connection, options, person=person)
    if switch.last_stop is not None and event.at <= switch.last_stop:
        situation = msgspec.structs.replace(situation, outdated=True)
    ruling = rule_on(situation, options, policy)
    if ruling.unattended and not is_observation(event.action):
        traffic = await _traffic(connection, situation, ruling, place, options)
        situation = msgspec.structs.replace(situation, traffic=traffic, silences=await _silences(event, connection))
        ruling = rule_on(situation, options, policy)
    page = await _storm_page(context, connection, situation, options)
    if ruling.held:
        await _record(event, context, connection, situation, ruling, approval="")
        return [*_held(event, context, situation, ruling, options), *page]
    row = _approval(event, context, situation, ruling, place=place, options=options)
    await approvals.create_approval(connection, row)
    await _record(event, context, connection, situation, ruling, approval=row.id)
    return [*(_approved(context, row) if ruling.automatic else _requested(context, row, options)), *page]


async def _measure(
    event: ActionProposed, context: Context, connection: Connection, options: GateOptions, *, person: bool
) -> tuple[str, Situation]:
    """The incident key of the place that the proposal is about, and the situation there.

    The lock on the incident keeps its end from passing a proposal that was read as open; the locks on the targets let only
    one proposal about them be decided at a time.
    """
    action = event.action
    await approvals.take_lock(connection, f"incident/{event.incident}")
    incident = await incidents.get_incident(connection, event.incident)
    place = incident.key if incident else action.target.key
    proven = person or await has_told(connection, _PROPOSER, event)
    busy = None
    if not is_observation(action):
        await approvals.take_lock(connection, *sorted({f"target/{place}", f"target/{action.target.key}"}))
        busy = await approvals.busy_with(connection, place=place, target=action.target.key, now=context.now(), proven=proven)
    severity = worst(event.severity, incident.severity) if incident else event.severity
    situation = Situation(
        action=action,
        severity=severity,
        now=context.now(),
        mode=await within_playbook(connection, event, options.mode_of(action.target), place=place, now=context.now()),
        incident=incident.state if incident else None,
        named_risk=_named_risk(event, options.risks.of(severity)),
        trust=await trust.score(connection, pattern_of(action), at=context.now(), half_life=options.trust_half_life),
        blast=event.blast,
        checks=event.checks,
        proven=proven,
        related=incident is None or await _is_related(event, incident.target, connection),
        busy_with=busy or "",
        gitops=event.gitops,
        person=person,
        objection=clean(event.objection or "", _REASON_LIMIT),
        source=event.source,
        playbook=event.playbook,
        confidence=event.confidence,
        labels=incident.labels if incident else {},
        alert_labels=incident.alert_labels if incident else (),
        alerts=incident.alerts if incident else (),
    )
    return place, situation


def _named_risk(event: ActionProposed, usual: Risk) -> Risk | None:
    """The risk that the source names. A language model's words have no authority, nor do a playbook's here: they may raise the usual
    one, never lower it.
    """
    raises = event.risk is not None and list(Risk).index(event.risk) > list(Risk).index(usual)
    return None if event.source in _RAISE_ONLY and not raises else event.risk


async def _is_related(event: ActionProposed, incident: Target, connection: Connection) -> bool:
    """By the evidence that the proposal rests on, which is read only where the targets are not the same."""
    target = event.action.target
    if is_related(target, incident, None, event.target_uid):
        return True
    seen = await get_snapshot(connection, event.evidence) if event.evidence else None
    return is_related(target, incident, seen, event.target_uid)


async def _silences(event: ActionProposed, connection: Connection) -> tuple[str, ...]:
    """Which alerts of the incident were silenced, by the evidence that the proposal rests on."""
    seen = await get_snapshot(connection, event.evidence) if event.evidence else None
    silenced = [alert for alert in seen.alerts if alert.silences] if seen else []
    return tuple(clean(f"{alert.name} is silenced in Alertmanager ({', '.join(alert.silences)})", 300) for alert in silenced)


async def _traffic(connection: Connection, situation: Situation, ruling: Ruling, place: str, options: GateOptions) -> Traffic:
    """Counts automatic actions, under the one lock that keeps two gates from both taking the last free place."""
    await approvals.take_lock(connection, "valves")
    target = situation.action.target.key
    everywhere, here = await approvals.automatic_since(
        connection,
        everywhere=situation.now - timedelta(seconds=options.cooldown.seconds),
        here=situation.now - timedelta(seconds=options.target_cooldown.seconds),
        place=place,
        target=target,
    )
    rules = {}
    for one in ruling.applied:
        if one.cooldown is not None:
            where = {"place": place, "target": target} if one.cooldown.per == "target" else {}
            since = situation.now - timedelta(seconds=one.cooldown.seconds)
            rules[one.rule] = await approvals.automatic_of_rule(connection, one.rule, since=since, **where)
    opened = await incidents.opened_since(connection, situation.now - timedelta(seconds=options.storm.seconds))
    return Traffic(everywhere=everywhere, here=here, rules=rules, incidents=opened)


async def _storm_page(context: Context, connection: Connection, situation: Situation, options: GateOptions) -> list[Output]:
    """What people are told of a storm, once within its time, by the first decision that it brakes, whichever gate makes it."""
    if situation.traffic is None or not is_storm(situation.traffic, options):
        return []
    if await may_ask(connection, "storm", at=situation.now, quiet=timedelta(seconds=options.storm.seconds)) is None:
        return []
    reason = f"{storm_said(situation.traffic, options)}: until it is over nothing runs without a signature"
    question = "Is there one cause behind them? What still wants a signature: mend approvals ls. To stop everything: mend stop --reason …"
    return [context.event(PeopleAsked, subject=context.input.id, reason=reason, question=question, severity=Severity.P0)]


def _approval(
    event: ActionProposed, context: Context, situation: Situation, ruling: Ruling, *, place: str, options: GateOptions
) -> ApprovalRow:
    now = situation.now
    automatic = ruling.automatic
    return ApprovalRow(
        id=context.new_id(),
        proposal=event.id,
        incident=event.incident,
        place=place,
        action=event.action,
        action_hash=action_hash(event.action, event.target_uid),
        target=event.action.target,
        target_uid=event.target_uid,
        severity=situation.severity,
        risk=ruling.risk_after,
        needed=ruling.needed,
        state=ApprovalState.APPROVED if automatic else ApprovalState.WAITING,
        requested_at=now,
        expires_at=now + timedelta(seconds=options.grant if automatic else options.expiry),
        decided_at=now if automatic else None,
        automatic=automatic,
        proposer=clean(event.proposer, 128),
        rule=ruling.rule,
        mode=ruling.mode,
        trust_score=situation.trust,
        inputs=_inputs(event, situation, ruling),
        inverse=event.inverse,
        diff=clean(event.diff, _DIFF_LIMIT),
        checks=event.checks,
        blast=event.blast,
        evidence=event.evidence,
        playbook=event.playbook,
        basis=event.basis,
        roles=ruling.roles,
        cooled=ruling.cooled,
    )


def _inputs(event: ActionProposed, situation: Situation, ruling: Ruling) -> dict[str, object]:
    """What the decision rested on, as plain values."""
    source = {"source": event.source, "provider": clean(event.provider, 128), "confidence": event.confidence, "cached": event.cached}
    source |= {"repairs": clean(event.repairs, 128)} if event.repairs else {}
    why = {"reasons": [clean(reason, _REASON_LIMIT) for reason in event.reasons], "root_cause": clean(event.root_cause, _REASON_LIMIT)}
    would = {"target_uid": event.target_uid, "basis": event.basis, "diff": clean(event.diff, _DIFF_LIMIT), "inverse": event.inverse}
    parts: dict[str, object] = {
        "situation": situation,
        "ruling": ruling,
        **source,
        "proposal": why,
        "would": would,
        "playbook": _playbook(event),
    }
    if event.debate:
        parts["debate"] = event.debate
    plain: dict[str, object] = msgspec.to_builtins(parts)
    return plain


def _playbook(event: ActionProposed) -> dict[str, object]:
    """Which playbook it is from, what made it fit, and which ones nearly did."""
    fits = [msgspec.structs.replace(one, part=clean(one.part, 40), why=clean(one.why, 300)) for one in (event.similarity or ())[:_PARTS]]
    near = [msgspec.structs.replace(one, playbook=clean(one.playbook, 128), why=clean(one.why, 300)) for one in (event.near or ())[:_PARTS]]
    return {"name": clean(event.playbook, 128), "version": event.playbook_version or 0, "similarity": fits, "near": near}


async def _record(
    event: ActionProposed, context: Context, connection: Connection, situation: Situation, ruling: Ruling, *, approval: str
) -> None:
    """Keeps the decision, to be explained later, and a line in the incident's timeline."""
    await decisions.record_decision(
        connection,
        decisions.DecisionRow(
            proposal=event.id,
            approval=approval,
            incident=event.incident,
            at=situation.now,
            pattern=pattern_of(event.action),
            action=event.action,
            held=ruling.held,
            rule=ruling.rule,
            reasons=ruling.reasons,
            mode=ruling.mode,
            risk_before=ruling.risk_before,
            risk_after=ruling.risk_after,
            trust=situation.trust,
            needed=ruling.needed,
            inputs=_inputs(event, situation, ruling),
            policy=ruling.policy,
        ),
    )
    await note(connection, context, event.incident, _line(event, ruling))


def _line(event: ActionProposed, ruling: Ruling) -> str:
    what = describe(event.action)
    if ruling.held:
        return f"held ({ruling.rule}): {what}: {ruling.reasons[0]}"
    if ruling.automatic:
        return f"approved without a signature ({ruling.rule}): {what}"
    among = f", with {', '.join(ruling.roles)} among them" if ruling.roles else ""
    return f"asked for {ruling.needed} signature{'s' if ruling.needed > 1 else ''}{among} ({ruling.rule}): {what}"


async def note(connection: Connection, context: Context, incident: str, what: str) -> None:
    """One line in the timeline of an incident, told by the input of `context`."""
    if incident:
        await incidents.add_timeline(connection, incident=incident, event=context.input.id, at=context.now(), by=context.by, what=what)


def _held(event: ActionProposed, context: Context, situation: Situation, ruling: Ruling, options: GateOptions) -> list[Output]:
    reason = clean(ruling.reasons[0], _REASON_LIMIT)
    would = {"diff": clean(event.diff, _SHORT_DIFF), "target_uid": event.target_uid}
    held = context.event(ActionHeld, proposal=event.id, action=event.action, rule=ruling.rule, reason=reason, mode=ruling.mode, **would)
    if situation.proven and event.source is Source.REPAIR:
        return [held]  # failure_watch asks people, with all that was tried
    refused = next((one for one in ruling.applied if one.refuse and one.rule == ruling.rule), None)
    if ruling.rule not in PEOPLE_RULES and refused is None and not _is_lost(situation, ruling, options):
        return [held]
    what = describe(event.action)
    place = f"{ruling.file}:{refused.line}" if refused else ruling.file
    wanted = {
        "policy_broken": f"Correct the condition of that rule; until then nothing that it might be about is done. What of '{what}'?",
        "blocked": f"Nobody can approve '{what}' here: repair by hand, or change the playbook to something smaller.",
        "gitops": f"Make the change of '{what}' in the repository that {situation.gitops} reads.",
        "preflight": f"'{what}' was proposed but cannot be run as it is (see the reason): give what is missing, or repair by hand.",
        "one_at_a_time": f"It does not come back by itself. Is '{what}' still wanted once that one is finished? Then do it by hand.",
        "shadow": f"Its playbook or a rule of the policy only tries it out: repair by hand, or allow it more. What of '{what}'?",
    }.get(ruling.rule, f"The policy forbids '{what}' ({place}): repair by hand, or change that rule.")
    asked = context.event(PeopleAsked, subject=held.id, reason=reason, question=clean(wanted, _REASON_LIMIT), severity=situation.severity)
    return [held, asked]


def _is_lost(situation: Situation, ruling: Ruling, options: GateOptions) -> bool:
    """Whether its incident was left without an answer that anybody was told of. In a place that is in shadow as a whole, that is meant."""
    tried_out = ruling.rule == "shadow" and options.mode_of(situation.action.target) is not Mode.SHADOW
    return situation.proven and (tried_out or ruling.rule == "one_at_a_time")


def _approved(context: Context, row: ApprovalRow) -> list[Output]:
    return [
        context.event(
            ActionApproved,
            approval=row.id,
            action=row.action,
            action_hash=row.action_hash,
            risk=row.risk,
            automatic=True,
            rule=row.rule,
            mode=row.mode,
        )
    ]


def _requested(context: Context, row: ApprovalRow, options: GateOptions) -> list[Output]:
    asked = context.event(
        ApprovalRequested,
        approval=row.id,
        proposal=row.proposal,
        action=row.action,
        action_hash=row.action_hash,
        risk=row.risk,
        signatures=row.needed,
        rule=row.rule,
        mode=row.mode,
        expires_at=row.expires_at,
    )
    return [asked, due(context, row.id, half(row.expires_at, options.expiry))]


def due(context: Context, approval: str, until: datetime) -> Output:
    """The timer by which people are reminded, or the time to sign is ended."""
    return context.delay(context.event(ApprovalDue, approval=approval), until)


def half(expires_at: datetime, expiry: float) -> datetime:
    """When half of the time to sign is over."""
    return expires_at - timedelta(seconds=expiry / 2)
