"""How long it takes to fold a million events anew, and in how much memory."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ops.embedded import EmbeddedPostgres
from schemas.action import RestartWorkload
from schemas.codec import encode, topic_of
from schemas.event import Event
from schemas.events import (
    ActionApproved,
    ApprovalRequested,
    ApprovalSigned,
    ExecutionFinished,
    ExecutionStarted,
    IncidentClosed,
    IncidentOpened,
    IncidentResolved,
    IncidentUpdated,
    LessonLearned,
    SignalReceived,
    TrustChanged,
    VerificationFinished,
)
from schemas.judgement import Judgement
from schemas.target import Kind, Target
from schemas.words import Disposition, Health, Mode, Outcome, Risk, Severity, SignalStatus, Verdict
from sql.database import Database
from sql.migrate import migrate
from sql.projections import ALL, NAMES
from tests.bench.ground import Child
from tests.bench.table import Section, below

EVENTS = 1_000_000
WORKLOADS = 500
NIGHT = 7_150  # incidents of which the archive has nothing yet
_AT = datetime(2001, 1, 1, tzinfo=UTC)  # stands for the time of each event in its body
_TARGET = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="@workload")
_ACTION = RestartWorkload(target=_TARGET)
_BODY = """
replace(replace(replace(replace({body}, '@event', 'e{place}-' || n), '@incident', 'i-' || n), '@workload', 'w-' || n % {workloads}),
        '2001-01-01T00:00:00Z', to_char(timestamptz '2026-01-01' + n * interval '50 seconds' + interval '{place} seconds',
                                        'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
"""
_LOG = """
INSERT INTO event_log (id, born, type, topic, incident, cause, told_by, at, body, partition, entry, stored_at)
SELECT 'e{place}-' || n, at, $1, $2, 'i-' || n, '', 'bench', at, body, 0, '0-1', at
  FROM (SELECT n, timestamptz '2026-01-01' + n * interval '50 seconds' + interval '{place} seconds' AS at, {body} AS body
          FROM generate_series(1, $3::int) AS n) AS made
"""
_STORES = (
    """
INSERT INTO incidents (id, key, state, severity, cluster, kind, namespace, name, title, labels, services, firing, signals,
                       opened_at, resolved_at, disposition, executed)
SELECT 'i-' || n, 'w-' || n % {workloads}, 'CLOSED', 'P2', 'prod', 'Deployment', 'shop', 'w', 'it crashes', '{{}}', '{{}}', 0, 3,
       now(), now(), 'auto_repaired', true FROM generate_series(1, {incidents}) AS n
""",
    """
INSERT INTO incident_alerts (incident, alert, anomaly, labels)
SELECT 'i-' || n, 'KubePodCrashLooping', 'KubePodCrashLooping on w-' || n % {workloads}, '{{}}' FROM generate_series(1, {incidents}) AS n
""",
    """
INSERT INTO operations (id, approval, incident, target, action, uid, state, awaits, opened_at, started_at, outcome)
SELECT 'o-i-' || n, 'a-i-' || n, 'i-' || n, 'w', replace($1, '@workload', 'w-' || n % {workloads}), 'uid', 'succeeded', '', now(), now(),
       'succeeded' FROM generate_series(1, {incidents}) AS n
""",
    "INSERT INTO verifications (operation, awaits, verdict) SELECT 'o-i-' || n, '', 'success' FROM generate_series(1, {incidents}) AS n",
    """
INSERT INTO approvals (id, proposal, incident, place, target_key, target_uid, action, action_hash, observation, severity, risk, needed,
                       state, automatic, requested_at, expires_at, proposer, rule, mode, trust_score, inputs, diff, checks, evidence,
                       playbook, basis)
SELECT 'a-i-' || n, 'p-' || n, 'i-' || n, '', '', 'uid', replace($1, '@workload', 'w-' || n % {workloads}), 'h', false, 'P2', 'medium', 1,
       'approved', false, now(), now(), 'propose', 'risk', 'auto', 0, '{{}}', '', '[]', '', '', '' FROM generate_series(1, {incidents}) AS n
""",
)

_TOLD: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    *(("ingest", f"e{place - 1}-", (place,)) for place in (1, 3, 5, 7)),
    *(("gate", "p-", (8,)), ("gate", "v-", (9, 10)), ("execute", "e10-", (11, 12)), ("verify", "e12-", (13,)), ("learn", "e13-", (14, 15))),
    *(("ingest", "e17-", (16,)), ("ingest", "c-", (19,))),
    *(("learn", f"e{place}-", ()) for place in (1, 3, 5, 7, 10, 12, 16)),
)
"""What stages keep of one incident: which stage, for which input, and which events of the story it told then."""
_KEEP = """
INSERT INTO outbox (stage, input, outputs, settled, kept_at, check_at)
SELECT '{stage}', '{cause}' || n, '[' || {outputs} || ']', {settled}, at, at
  FROM (SELECT n, now() - interval '8 hours' * ($1 - n) / $2 AS at FROM generate_series($1::int - $2::int + 1, $1) AS n) AS night
"""


async def measure() -> Section:
    story = _story()
    incidents = EVENTS // len(story)
    wanted = sum(type(event).__name__ in {name for one in ALL for name in one.types} for event in story)
    section = Section(
        title="Projections",
        how=f"A log of {EVENTS:,} events, {len(story)} of each incident, on {WORKLOADS} workloads, {wanted / len(story):.0%}"
        " of them of types that some projection reads, and the rows in the stores that bear them out; besides,"
        f" {NIGHT * sum(len(places) for _, _, places in _TOLD):,} outputs that the stages have kept of {NIGHT:,} more incidents in a night"
        " of eight hours without the archive, all taken by learn. One process rebuilds every projection into empty tables, one after"
        " another, and then compares it with the log. Postgres with fsync. Writers wait while the rows are swapped: all of them are new"
        " here.",
        columns=("", "events", "rows", "rebuilt in", "compared in", "writers wait"),
    )
    with tempfile.TemporaryDirectory(prefix="mend-bench-") as folder:
        server = await EmbeddedPostgres(Path(folder) / "data").start()
        try:
            await _fill(server.url, story, incidents)
            total, memory = await _rebuild(server.url, section)
        finally:
            await server.stop()
    section.notes.append(f"Peak memory of the process: {memory:.0f} MB.")
    section.wanted = [
        below(f"every projection rebuilt from {EVENTS:,} events", 120, total, " s"),
        below("peak memory of the process that rebuilds", 200, memory, " MB", 0),
    ]
    return section


async def _rebuild(url: str, section: Section) -> tuple[float, float]:
    """Seconds of all rebuilds together, and the peak memory in MB."""
    total = memory = 0.0
    async with Child.started("tests.bench.rebuilding", url) as child:
        child.go()
        for _ in NAMES:
            name, events, rows, *seconds, differing, peak = (await child.line(600)).decode().split()
            section.rows.append((name, f"{int(events):,}", f"{int(rows):,}", *(f"{float(each):.1f} s" for each in seconds)))
            total, memory = total + float(seconds[0]), float(peak)
            if differing != "0":
                section.broken.append(f"{name}: {differing} rows differ from the log just after the rebuild")
    return total, memory


async def _fill(url: str, story: list[Event], incidents: int) -> None:
    """Makes the log and the stores."""
    database = await Database(url, size=1).open()
    await migrate(database)
    action = msgspec.json.encode(_ACTION).decode()
    async with database.connection() as connection:
        for query in _STORES:
            values: tuple[object, ...] = (action,) if "$1" in query else ()
            await connection.execute(query.format(workloads=WORKLOADS, incidents=incidents + NIGHT), *values, timeout=600)
        for place, event in enumerate(story):
            body = _BODY.format(body="$4::text", place=place, workloads=WORKLOADS)
            values = (type(event).__name__, topic_of(event), incidents, encode(event).decode())
            await connection.execute(_LOG.format(place=place, body=body), *values, timeout=600)
        for stage, cause, places in _TOLD:
            outputs = " || ',' || ".join(_output(number, place) for number, place in enumerate(places, start=3)) or "''"
            bodies = [encode(story[place]).decode() for place in places]
            query = _KEEP.format(stage=stage, cause=cause, outputs=outputs, settled=not places)
            await connection.execute(query, incidents + NIGHT, NIGHT, *bodies, timeout=600)
        await connection.execute("VACUUM ANALYZE", timeout=600)
    await database.close()


def _output(number: int, place: int) -> str:
    """A kept output in SQL: the event in the parameter of this number."""
    body = _BODY.format(body=f"${number}::text", place=place, workloads=WORKLOADS)
    return f"""'{{"event":' || {body} || '}}'"""


def _story() -> list[Event]:
    """The events of one incident; names that begin with @ stand for those of each."""
    header: dict[str, Any] = {"id": "@event", "key": _TARGET.key, "at": _AT, "by": "bench", "incident": "@incident"}
    about: dict[str, Any] = {"target": _TARGET, "severity": Severity.P2}
    what: dict[str, Any] = {"action": _ACTION, "approval": "a-@incident"}
    labels = {"alertname": "KubePodCrashLooping", "namespace": "shop", "deployment": "@workload", "severity": "warning"}
    alert: dict[str, Any] = {"starts_at": _AT, "fingerprint": "f-@incident", "labels": labels, "annotations": {"summary": "its pods crash"}}
    signal = SignalReceived(**header, status=SignalStatus.FIRING, source="alertmanager", **alert)
    joined = IncidentUpdated(**header, **about, alert="KubePodCrashLooping", status=SignalStatus.FIRING, firing=2)
    done: dict[str, Any] = {"operation": "o-@incident", "outcome": Outcome.SUCCEEDED, "automatic": False, "playbook": "book-@workload"}
    judgements = tuple(Judgement(about=f"pod {number}", health=Health.HEALTHY, reason="it is ready again") for number in range(3))
    decided: dict[str, Any] = {"action_hash": "h", "risk": Risk.MEDIUM, "rule": "risk", "mode": Mode.AUTO}
    healed: dict[str, Any] = {"verdict": Verdict.SUCCESS, "measured": True, "summary": "all replicas are available", "score": 1.0}
    lesson: dict[str, Any] = {"pattern": "restart:prod/shop/@workload", "summary": "all replicas are available"}
    return [
        *(signal, IncidentOpened(**header, **about, title="it crashes", alert="KubePodCrashLooping", anomaly="", labels=labels)),
        *(signal, joined, signal, joined, signal, joined),
        ApprovalRequested(**header, **what, **decided, proposal="p-@incident", signatures=1, expires_at=_AT),
        ApprovalSigned(**header, approval="a-@incident", person="ann", missing=0),
        ActionApproved(**header, **what, **decided, automatic=False, signers=("ann",)),
        ExecutionStarted(**header, **what, operation="o-@incident", attempt=1, token=1),
        ExecutionFinished(**header, **what, **done, attempts=1, started_at=_AT, seconds=1.5, severity=Severity.P2, before="b"),
        VerificationFinished(
            **(header | what | done | healed), judgements=judgements, before="b", after="c", severity=Severity.P2, cleared=True
        ),
        TrustChanged(**header, pattern=lesson["pattern"], before=0, after=1, reason="verified as success"),
        LessonLearned(**header, **lesson, lesson="o-@incident", action=_ACTION, verdict=Verdict.SUCCESS),
        IncidentResolved(**header, target=_TARGET, disposition=Disposition.AUTO_REPAIRED, seconds=300.0),
        *(signal, signal),
        IncidentClosed(**header, target=_TARGET),
    ]
