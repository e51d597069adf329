"""propose: looks at what an incident is about, and puts one action forward with its reasons, or asks people.

An incident is answered once. It is answered again only while no action was put forward: when its severity rises or another alert joins it,
or, where its target was only looked at and signals still come in, when a new look shows what can be done; when its severity rises while an
action waits for signatures; after an eviction that did no harm, for the next pod on a node that is down; and when failure_watch
wants one repair after a failure. The world is looked at outside the transaction; what was seen and what was decided are committed together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from adapters.errors import AdapterError, Refused, TargetMissing, Transient, UnknownCluster
from adapters.ports import Metrics, Preflight, World
from bus.handler import Context, Reject, Retry
from schemas.action import Action, EvictPod, describe, is_observation
from schemas.event import Event, Output
from schemas.events import (
    ActionProposed,
    IncidentOpened,
    IncidentUpdated,
    PeopleAsked,
    ProposalOutdated,
    RepairWanted,
    VerificationFinished,
)
from schemas.playbook import NearMiss
from schemas.target import Kind
from schemas.text import clean
from schemas.words import ApprovalState, CheckResult, Outcome, Severity, SignalStatus, Verdict
from sql.approvals import ApprovalRow, list_approvals
from sql.database import Connection, Database
from sql.evidence import store_snapshot
from sql.incidents import IncidentRow, add_timeline, get_incident
from sql.outbox import kept, once
from sql.proposals import ProposalKind, ProposalRow, latest_proposal, looked_again, note_proposal
from stages.genuine import require_told
from stages.propose import templates
from stages.propose.case import Case, Neighbours, Suggestion, SuggestionSource, instead, with_reason
from stages.propose.investigation import investigate, unseen
from stages.propose.options import ProposeOptions
from stages.propose.outdated import outranked, why_outdated
from stages.propose.outside import gone, look
from stages.propose.repair import Suggest, put_forward
from stages.reads import READS
from stages.stopped import wait_while_stopped

_TELLERS: dict[type[Event], str] = {IncidentOpened: "ingest", IncidentUpdated: "ingest", VerificationFinished: "verify"}


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about an incident before anything was written. Without a suggestion, only people are asked."""

    case: Case | None = None
    suggestion: Suggestion | None = None
    preflight: Preflight | None = None
    question: str = ""
    reason: str = ""
    near: tuple[NearMiss, ...] = ()


class ProposeStage:
    """The consumer group `propose`. `sources` are asked in order before the templates; without `metrics` only the target is looked at.

    `neighbours` says what nearly fitted, for whoever decides.
    """

    name = "propose"
    topics = READS["propose"]

    def __init__(
        self,
        database: Database,
        world: World,
        options: ProposeOptions | None = None,
        *,
        sources: Sequence[SuggestionSource] = (),
        neighbours: Neighbours | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._world = world
        self._options = options or ProposeOptions()
        self._sources = tuple(sources)
        self._neighbours = neighbours
        self._metrics = metrics

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        if isinstance(event, RepairWanted):
            return await self._repair(event, context)
        if not isinstance(event, IncidentOpened | IncidentUpdated) and not _asks_for_next(event):
            return []
        if (outputs := await kept(self._database, self.name, event.id)) is not None:
            return outputs
        latest, incident = await self._accepted(event)
        if incident is None:
            return await self._take_back(event, latest, context)
        answer = await self._answer(incident, context)
        if isinstance(event, VerificationFinished) and not (answer.suggestion and isinstance(answer.suggestion.action, EvictPod)):
            return []
        return await once(self._database, self.name, event, lambda connection: self._decide(event, answer, context, connection))

    async def _repair(self, event: RepairWanted, context: Context) -> Sequence[Output]:
        return await put_forward(
            event,
            context,
            self._database,
            answer=lambda incident, suggest: self._answer(incident, context, suggest),
            tell=lambda answer, incident, connection: _tell(event, answer, incident, context, connection),
        )

    async def _accepted(self, event: Event) -> tuple[ProposalRow | None, IncidentRow | None]:
        """The newest answer to the incident, and the incident, when it is open and this event is a reason to answer it.

        Raises Retry while Mendstream is stopped.
        """
        async with self._database.connection() as connection:
            latest = await latest_proposal(connection, event.incident)
            if not _may_want_answer(event, latest):
                return latest, None
            incident = await get_incident(connection, event.incident)
            if incident is not None and not incident.is_open:
                return latest, None
            await require_told(connection, _TELLERS[type(event)], event)
            if incident is None:
                raise Reject(f"no incident {event.incident!r} is in the store: the event tells of nothing that is known here")
            if not await self._wants_answer(event, latest, incident, connection):
                return latest, None
            await wait_while_stopped(connection)
            return latest, incident

    async def _wants_answer(self, event: Event, latest: ProposalRow | None, incident: IncidentRow, connection: Connection) -> bool:
        """Whether it has no answer yet, or one that may be out of date; or the event asks for a next step.

        An action is out of date where it waits for the signatures of a severity that its incident has left behind.
        """
        if not _may_want_answer(event, latest):
            return False
        if latest is None or not isinstance(event, IncidentUpdated):
            return True
        if latest.kind == "action":
            return bool(await outranked(connection, incident))
        return _is_news(latest, incident) or self._looks_again(event, latest)

    def _looks_again(self, event: IncidentUpdated, latest: ProposalRow) -> bool:
        """Whether a target that was only looked at, and may have been well at that moment, is still told of a while later.

        So is one about which nothing is put forward any more.
        """
        waited = event.at - latest.at >= timedelta(seconds=self._options.look_again)
        return latest.kind in ("observation", "withdrawn") and event.status is SignalStatus.FIRING and waited

    async def _take_back(self, event: Event, latest: ProposalRow | None, context: Context) -> Sequence[Output]:
        """Tells that what waits for signatures is not what was put forward any more, where its target was changed since.

        That is looked at while news of the incident come in; after that it is looked at anew, and that answer is told whatever it is.
        """
        if not isinstance(event, IncidentUpdated) or latest is None or latest.kind != "action":
            return []
        if event.at - latest.at < timedelta(seconds=self._options.look_again):
            return []
        async with self._database.connection() as connection:
            waiting = await list_approvals(connection, states=[ApprovalState.WAITING], incident=event.incident)
            if not waiting and await _is_over(event, connection):
                return []
            await require_told(connection, _TELLERS[type(event)], event)
        found = [(row, await why_outdated(self._world, row)) for row in waiting if not row.by_person]
        outdated = [(row, reason) for row, reason in found if reason]
        return await once(self._database, self.name, event, lambda connection: _told_outdated(event, outdated, latest, context, connection))

    async def _decide(self, event: Event, answer: _Answer, context: Context, connection: Connection) -> Sequence[Output]:
        await wait_while_stopped(connection)
        latest = await latest_proposal(connection, event.incident, lock=True)
        current = await get_incident(connection, event.incident)
        if current is None or not current.is_open or not await self._wants_answer(event, latest, current, connection):
            return []
        if latest is None or not isinstance(event, IncidentUpdated):
            return await _tell(event, answer, current, context, connection)
        if latest.kind == "observation" and not _is_news(latest, current) and not _acts(answer):
            await looked_again(connection, current.id, at=context.now())
            return []
        outdated = await _told_outdated(event, await outranked(connection, current), latest, context, connection)
        return [*outdated, *await _tell(event, answer, current, context, connection)]

    async def _answer(self, incident: IncidentRow, context: Context, suggest: Suggest | None = None) -> _Answer:
        """Looks, suggests and checks. Raises Retry while the cluster is away and patience lasts."""
        if incident.target.kind is Kind.UNKNOWN and not incident.target.name:
            return _people(f"The alert does not say what it is about: {incident.title}", "Which workload or host is meant?")
        try:
            case = await self._look(incident, context.now())
            suggestion = with_reason(await (suggest or self._suggest)(case), gone(case, firing=incident.firing))
            beside = await self._neighbours.near(case) if self._neighbours is not None else ()
            return msgspec.structs.replace(await self._checked(case, suggestion), near=beside)
        except TargetMissing as error:
            near = f" The nearest names: {', '.join(error.nearest[:5])}." if error.nearest else ""
            return _people(
                f"{error}{near}", f"Is {incident.target} spelled as in the cluster, or is the alert about something that is gone?"
            )
        except UnknownCluster as error:
            return _people(str(error), "Name that cluster in the settings, or correct the label `cluster` of the alert.")
        except (Transient, TimeoutError) as error:
            self._wait_or_give_up(incident, context, error)
            return _people(f"{incident.target} cannot be looked at: {error or 'it did not answer in time'}", "Is the cluster reachable?")
        except AdapterError as error:
            return _people(f"{incident.target} cannot be looked at: {error}", "What should be done about it?")

    def _wait_or_give_up(self, incident: IncidentRow, context: Context, error: Exception) -> None:
        if context.now() - context.input.at < timedelta(seconds=self._options.patience):
            raise Retry(self._options.retry_after, f"{incident.target} cannot be looked at: {error or 'no answer in time'}") from error

    async def _look(self, incident: IncidentRow, at: datetime) -> Case:
        until = asyncio.get_running_loop().time() + self._options.observe_limit
        async with asyncio.timeout_at(until):
            target = await self._world.owner(incident.target)
        if target.kind is Kind.UNKNOWN:
            raise TargetMissing(f"No workload and no pod is named {target.name}.")
        snapshot = await look(self._world, self._metrics, incident, target, at=at, until=until)
        if snapshot.exists is False:
            raise TargetMissing(f"{target} does not exist.")
        if not snapshot.measured:
            raise Transient("; ".join(f"{sensor.name}: {sensor.error}" for sensor in snapshot.sensors[:5]) or "no sensor answered")
        return Case(
            incident=incident.id,
            target=target,
            severity=incident.severity,
            alerts=incident.alerts,
            labels=incident.labels,
            alert_labels=incident.alert_labels,
            opened_at=incident.opened_at,
            snapshot=snapshot,
            title=incident.title,
        )

    async def _suggest(self, case: Case) -> Suggestion:
        for source in self._sources:
            suggestion = await source.suggest(case)
            if suggestion is not None:
                return suggestion
        return templates.suggest(case, self._options)

    async def _checked(self, case: Case, suggestion: Suggestion) -> _Answer:
        """The suggestion with its preflight. One that fails it gives way to what it has for that case.

        One that the world refuses outright becomes an investigation and a question. Raises what preflight raises, and Refused of
        an investigation.
        """
        try:
            preflight = await self._world.preflight(suggestion.action)
        except Refused as error:
            if is_observation(suggestion.action):
                raise
            wanted = describe(suggestion.action)
            refused = investigate(case, f"Wanted: {wanted}. It is refused: {error}", question=f"How else can {case.target} be healed?")
            return await self._checked(case, refused)
        failed = [check for check in preflight.checks if check.result is CheckResult.FAILED]
        if failed and suggestion.otherwise is not None:
            return await self._checked(case, instead(suggestion, suggestion.otherwise, failed))
        action = msgspec.structs.replace(suggestion.action, target=preflight.target)
        suggestion = msgspec.structs.replace(suggestion, action=action, reasons=(*suggestion.reasons, *unseen(action, failed)))
        return _Answer(case=case, suggestion=suggestion, preflight=preflight, question=suggestion.question, reason=suggestion.reasons[0])


async def _is_over(event: Event, connection: Connection) -> bool:
    incident = await get_incident(connection, event.incident)
    return incident is not None and not incident.is_open


def _asks_for_next(event: Event) -> bool:
    """Whether an eviction was done and did no harm: then the next pod may follow it."""
    if not isinstance(event, VerificationFinished) or not isinstance(event.action, EvictPod):
        return False
    return event.outcome is Outcome.SUCCEEDED and event.measured and event.verdict is not Verdict.FAILED


async def _tell(event: Event, answer: _Answer, current: IncidentRow, context: Context, connection: Connection) -> Sequence[Output]:
    outputs: list[Event] = []
    if answer.case is not None and answer.suggestion is not None:
        evidence = context.new_id()
        await store_snapshot(connection, id=evidence, incident=current.id, phase="proposal", snapshot=answer.case.snapshot)
        outputs.append(_proposal(context, current.severity, answer, evidence))
    if answer.question:
        subject = outputs[0].id if outputs else event.id
        texts = {"reason": clean(answer.reason, 1000), "question": clean(answer.question, 1000)}
        outputs.append(context.event(PeopleAsked, subject=subject, severity=current.severity, **texts))
    await _remember(connection, current, answer, outputs)
    return outputs


async def _remember(connection: Connection, incident: IncidentRow, answer: _Answer, outputs: Sequence[Event]) -> None:
    first = outputs[0]
    kind = _kind_of(answer.suggestion.action if answer.suggestion else None)
    known: dict[str, Any] = {"severity": incident.severity, "alerts": len(incident.alerts)}
    await note_proposal(connection, incident.id, event=first.id, kind=kind, **known, at=first.at)
    for output in outputs:
        what = f"people were asked: {answer.question}" if isinstance(output, PeopleAsked) else _line(answer)
        await add_timeline(connection, incident=incident.id, event=output.id, at=output.at, by=output.by, what=what)


async def _told_outdated(
    event: Event, outdated: Sequence[tuple[ApprovalRow, str]], latest: ProposalRow, context: Context, connection: Connection
) -> Sequence[Output]:
    await looked_again(connection, event.incident, at=context.now())
    told = [context.event(ProposalOutdated, proposal=row.proposal, action=row.action, reason=reason) for row, reason in outdated]
    for one in told:
        what = f"no longer proposed: {describe(one.action)}, because {one.reason}"
        await add_timeline(connection, incident=event.incident, event=one.id, at=one.at, by=one.by, what=what)
        known: dict[str, Any] = {"severity": latest.severity, "alerts": latest.alerts}
        await note_proposal(connection, event.incident, event=one.id, kind="withdrawn", **known, at=one.at)
    return told


def _people(reason: str, question: str) -> _Answer:
    return _Answer(reason=reason, question=question)


def _line(answer: _Answer) -> str:
    assert answer.suggestion is not None
    return f"proposed: {describe(answer.suggestion.action)}, because: {answer.suggestion.reasons[0]}"


def _kind_of(action: Action | None) -> ProposalKind:
    if action is None:
        return "people"
    return "observation" if is_observation(action) else "action"


def _may_want_answer(event: Event, latest: ProposalRow | None) -> bool:
    """Whether the event may ask for an answer, as far as the newest one tells: most of a storm ends here."""
    if isinstance(event, IncidentOpened):
        return latest is None
    if isinstance(event, VerificationFinished):
        return latest is not None
    if latest is None or not isinstance(event, IncidentUpdated):
        return False
    return latest.kind != "action" or _worse(event.severity, latest.severity)


def _is_news(latest: ProposalRow, incident: IncidentRow) -> bool:
    """Whether the incident became more severe, or was told of by another alert as well, since its newest answer."""
    return _worse(incident.severity, latest.severity) or len(incident.alerts) > latest.alerts


def _acts(answer: _Answer) -> bool:
    return answer.suggestion is not None and not is_observation(answer.suggestion.action)


def _worse(severity: Severity, than: Severity) -> bool:
    return severity.value < than.value


def _reverted(preflight: Preflight | None) -> tuple[str, ...]:
    """What whoever signs must know of a GitOps tool that keeps the target as its repository says."""
    if preflight is None or preflight.gitops is None:
        return ()
    return tuple(f"It is {check.detail}." for check in preflight.checks if check.name == "gitops")


def _proposal(context: Context, severity: Severity, answer: _Answer, evidence: str) -> ActionProposed:
    suggestion, preflight = answer.suggestion, answer.preflight
    assert suggestion is not None
    return context.event(
        ActionProposed,
        action=suggestion.action,
        target_uid=preflight.uid if preflight else "",
        severity=severity,
        source=suggestion.source,
        provider=suggestion.provider,
        proposer="mendstream",
        confidence=suggestion.confidence,
        reasons=tuple(clean(reason, 600) for reason in (*suggestion.reasons, *_reverted(preflight))),
        evidence=evidence,
        cached=suggestion.cached,
        root_cause=clean(suggestion.root_cause, 600),
        risk=suggestion.risk,
        playbook=suggestion.playbook,
        checks=preflight.checks if preflight else (),
        blast=preflight.blast if preflight else None,
        inverse=(preflight.inverse if preflight else None) or suggestion.inverse,
        diff=clean(preflight.diff, 8000) if preflight else "",
        basis=preflight.basis if preflight else "",
        gitops=preflight.gitops if preflight else None,
        objection=clean(suggestion.objection, 600) or msgspec.UNSET,
        playbook_version=suggestion.playbook_version or msgspec.UNSET,
        similarity=suggestion.similarity or msgspec.UNSET,
        near=answer.near or msgspec.UNSET,
        repairs=suggestion.repairs or msgspec.UNSET,
        debate=suggestion.debate or msgspec.UNSET,
    )
