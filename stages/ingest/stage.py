"""Signals open, join and end incidents; a resolved incident is closed after its quiet time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from bus.handler import Context, Reject
from schemas.event import Event, Output
from schemas.events import (
    IncidentClosed,
    IncidentCloseDue,
    IncidentOpened,
    IncidentResolved,
    IncidentUpdated,
    SignalReceived,
)
from schemas.identity import is_identifier
from schemas.target import Target
from schemas.text import clean, clean_labels
from schemas.words import IncidentState, SignalStatus
from sql import incidents, signals
from sql.database import Connection, Database
from sql.outbox import AlreadyDone, once
from sql.signals import Joined, Left
from stages.genuine import require_due
from stages.ingest import rules
from stages.ingest.bounds import fault_of
from stages.ingest.options import IngestOptions
from stages.ingest.owners import OwnerLookup, Owners
from stages.ingest.rules import Firing
from stages.ingest.targets import target_of
from stages.reads import READS


class Ingest:
    """The stage `ingest`. `owners` tells who owns a pod; without it, or an answer from it, the pod's name does."""

    name = "ingest"
    topics = READS["ingest"]

    def __init__(
        self,
        database: Database,
        owners: Owners | None = None,
        options: IngestOptions | None = None,
        *,
        default_cluster: str = "default",
    ) -> None:
        self._database = database
        self._options = options or IngestOptions()
        self._owners = OwnerLookup(owners, self._options)
        self._default_cluster = default_cluster

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        """Raises Reject for a signal that is out of bounds, and StoreUnavailable."""
        match event:
            case SignalReceived():
                fault = fault_of(event, context.now())
                if fault:
                    raise Reject(fault.reason)
                if event.status is SignalStatus.RESOLVED:
                    return await once(self._database, self.name, event, partial(self._end, event, context))
                target = await self._target(event)
                return await once(self._database, self.name, event, partial(self._fire, event, context, target))
            case IncidentCloseDue():
                if not (is_identifier(event.id) and is_identifier(event.incident)):
                    raise Reject("id and incident must be the text forms of UUIDs")
                return await once(self._database, self.name, event, partial(self._close, event, context))
            case _:
                return []

    async def _target(self, signal: SignalReceived) -> Target:
        """The thing to heal. The cluster is asked outside of any transaction, and only for what has not been heard yet."""
        named = target_of(signal.labels, default_cluster=self._default_cluster, options=self._options)
        remembered = self._owners.remembered(named)
        if remembered is not None:
            return remembered
        async with self._database.connection() as connection:
            known = await signals.known(connection, signal.fingerprint, signal.starts_at)
        if rules.meaning_of(signal, known) is not Firing.NEW:
            return named
        return await self._owners.ask(named)

    async def _fire(self, signal: SignalReceived, context: Context, target: Target, connection: Connection) -> Sequence[Output]:
        """A firing signal joins the open incident of its target, or opens one; it counts once."""
        known = await signals.known(connection, signal.fingerprint, signal.starts_at)
        match rules.meaning_of(signal, known):
            case Firing.REPEATED:
                return []
            case Firing.OVER:
                await self._record(connection, signal)
                return []
            case Firing.AGAIN:
                incident = next(one.incident for one in known if one.open)
                joined = await signals.join_again(connection, incident, rules.severity_of(signal.labels))
                await signals.end_open(connection, signal.fingerprint)
            case Firing.NEW:
                joined = await self._join_or_open(connection, signal, context, target)
        await self._record(connection, signal, incident=joined.id, is_open=True)
        return await self._tell_joined(connection, signal, context, joined)

    async def _join_or_open(self, connection: Connection, signal: SignalReceived, context: Context, target: Target) -> Joined:
        return await signals.join_or_open(
            connection,
            id=context.new_id(),
            target=target,
            severity=rules.severity_of(signal.labels),
            title=rules.title_of(signal),
            labels=clean_labels(signal.labels),
            services=rules.services_of(signal.labels),
            at=context.now(),
        )

    async def _tell_joined(self, connection: Connection, signal: SignalReceived, context: Context, joined: Joined) -> Sequence[Output]:
        alert = rules.alert_of(signal.labels)
        anomaly = rules.anomaly_of(alert, joined.target)
        labels = clean_labels(signal.labels)
        times = await signals.count_alert(connection, joined.id, alert=alert, anomaly=anomaly, labels=labels)
        if joined.opened:
            title = rules.title_of(signal)
            await self._note(connection, signal, context, joined.id, f"opened by {alert}, {joined.severity}: {title}")
            opened = context.event(
                IncidentOpened,
                incident=joined.id,
                key=joined.target.key,
                target=joined.target,
                severity=joined.severity,
                title=title,
                alert=alert,
                anomaly=anomaly,
                recurrence=times,
                labels=labels,
            )
            return [opened]
        if times or joined.rose or joined.signals <= self._options.timeline_signals:
            worse = f", severity is now {joined.severity}" if joined.rose else ""
            await self._note(connection, signal, context, joined.id, f"{alert} joined{worse}; {joined.firing} firing")
        return [_updated(context, joined, alert, SignalStatus.FIRING)]

    async def _end(self, signal: SignalReceived, context: Context, connection: Connection) -> Sequence[Output]:
        """A resolved signal leaves its incident; with the last one the incident is resolved."""
        known = await signals.known(connection, signal.fingerprint, signal.starts_at)
        if any(one.resolved for one in known if one.starts_at == signal.starts_at):
            return []
        await self._record(connection, signal)
        current = next((one for one in known if one.open and rules.ends(signal, one)), None)
        if current is None:
            return []
        await signals.end_open(connection, signal.fingerprint)
        left = await signals.leave(connection, current.incident)
        if left is None:
            return []
        alert = rules.alert_of(signal.labels)
        if left.firing == 0:
            return await self._resolve(connection, signal, context, left)
        if left.signals <= self._options.timeline_signals:
            await self._note(connection, signal, context, left.id, f"{alert} resolved; {left.firing} firing")
        return [_updated(context, left, alert, SignalStatus.RESOLVED)]

    async def _resolve(self, connection: Connection, signal: SignalReceived, context: Context, left: Left) -> Sequence[Output]:
        now = context.now()
        disposition = rules.disposition_of(left)
        await signals.resolve(connection, left.id, disposition=disposition, at=now)
        unverified = ", and what was done is not verified to have repaired it" if left.executed and not left.succeeded else ""
        how = f"{disposition.replace('_', ' ')}{unverified}"
        await self._note(connection, signal, context, left.id, f"resolved: no signal fires any more ({how})")
        seconds = max(0.0, (now - left.opened_at).total_seconds())
        place = {"incident": left.id, "key": left.key}
        resolved = context.event(IncidentResolved, **place, target=left.target, disposition=disposition, seconds=seconds)
        due = context.event(IncidentCloseDue, **place)
        return [resolved, context.delay(due, now + timedelta(seconds=self._options.close_after))]

    async def _close(self, due: IncidentCloseDue, context: Context, connection: Connection) -> Sequence[Output]:
        now = context.now()
        incident = await incidents.get_incident(connection, due.incident)
        if incident is not None and incident.state is IncidentState.CLOSED:
            raise AlreadyDone
        await require_due(connection, self.name, due, now)
        target = await signals.close(connection, due.incident, at=now)
        if target is None:
            return []
        await incidents.add_timeline(connection, incident=due.incident, event=due.id, at=now, by=context.by, what="closed")
        return [context.event(IncidentClosed, incident=due.incident, key=target.key, target=target)]

    async def _record(self, connection: Connection, signal: SignalReceived, *, incident: str = "", is_open: bool = False) -> None:
        """What is now known of the occurrence."""
        await signals.record(
            connection,
            fingerprint=signal.fingerprint,
            starts_at=signal.starts_at,
            ends_at=signal.ends_at,
            fired=signal.status is SignalStatus.FIRING,
            resolved=signal.status is SignalStatus.RESOLVED,
            incident=incident,
            is_open=is_open,
            alert=rules.alert_of(signal.labels),
            severity=rules.severity_of(signal.labels),
            source=clean(signal.source, 64),
            event=signal.id,
            heard_at=signal.at,
        )

    async def _note(self, connection: Connection, signal: SignalReceived, context: Context, incident: str, what: str) -> None:
        """A line of the timeline, by who told us."""
        await incidents.add_timeline(
            connection, incident=incident, event=signal.id, at=context.now(), by=signal.source or context.by, what=what
        )


def _updated(context: Context, incident: Joined | Left, alert: str, status: SignalStatus) -> IncidentUpdated:
    return context.event(
        IncidentUpdated,
        incident=incident.id,
        key=incident.target.key,
        target=incident.target,
        severity=incident.severity,
        alert=alert,
        status=status,
        firing=incident.firing,
    )
