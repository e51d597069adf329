"""What Alertmanager tells in a storm, decided by a seed: problems, repetitions, ends, some out of order, and what is no alert at all."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from schemas.action import RestartWorkload
from schemas.codec import encode
from schemas.event import Event
from schemas.events import ActionApproved, IncidentResolved
from schemas.identity import new_id
from schemas.target import Kind, Target
from schemas.words import Disposition, Risk
from tests.chaos.storm.effects import KINDS

_PROBLEMS = ("KubePodCrashLooping", "KubePodNotReady", "KubeContainerWaiting", "KubeDeploymentReplicasMismatch")
_WEIGHTS = (48, 14, 10, 5, 3, 9, 5, 5, 6, 3)
_SEVERITIES, _SEVERE = ("info", "warning", "critical"), (75, 15, 10)
_LASTING = 100.0
_NEVER = "0001-01-01T00:00:00Z"
assert len(_WEIGHTS) == len(KINDS)


class Telling(msgspec.Struct, frozen=True):
    """One alert in one notification, `at` seconds after the beginning. `starts` and `ends` are seconds, too."""

    at: float
    labels: dict[str, str]
    fingerprint: str
    starts: float
    ends: float | None


def tellings(chance: random.Random, count: int, seconds: float) -> list[Telling]:
    """`count` alerts over so many seconds, in the order in which they are told.

    The first stories are one of each kind, begin early and last, so that each kind has the time to do what it does.
    """
    told: list[Telling] = []
    number = 0
    while len(told) < count:
        first = number < len(KINDS)
        kind = list(KINDS)[number] if first else chance.choices(list(KINDS), _WEIGHTS)[0]
        story = _story(chance, f"{kind}-{number}", chance.uniform(0, seconds / 4 if first else seconds), lasting=first)
        told += [telling for telling in story if telling.at <= seconds]
        number += 1
    return sorted(told[:count], key=lambda telling: telling.at)


def _story(chance: random.Random, name: str, at: float, *, lasting: bool) -> Iterator[Telling]:
    """The alerts about one Deployment: each of its pods fires, and most of them end. For what lasts, no signature is needed."""
    severity = "info" if lasting else chance.choices(_SEVERITIES, _SEVERE)[0]
    if name.startswith("unwanted-"):
        severity = "critical"
    for pod in range(chance.randint(1, 4)):
        labels = {
            "alertname": chance.choice(_PROBLEMS),
            "severity": severity,
            "namespace": "shop",
            "pod": f"{name}-7d9c5b6f8-{pod:05x}",
        }
        yield from alert_of(chance, labels, at + chance.uniform(0, 3), lasting=lasting)


def alert_of(chance: random.Random, labels: dict[str, str], at: float, *, lasting: bool = False) -> Iterator[Telling]:
    """One alert, told one to three times, and, mostly, its end, sometimes told twice and sometimes before it was told to have begun.

    One that lasts has its end `_LASTING` seconds after its beginning.
    """
    mark = hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]
    for _ in range(chance.randint(1, 3)):
        yield Telling(at + chance.expovariate(0.5), labels, mark, at, None)
    if lasting or chance.random() < 0.8:
        ends = at + (_LASTING if lasting else chance.uniform(0.5, 40))
        for _ in range(chance.choice((1, 1, 2))):
            yield Telling(ends + chance.expovariate(1), labels, mark, at, ends)


def notification(group: list[Telling], began: datetime) -> bytes:
    """The body of one webhook of Alertmanager; `began` is when the storm did."""
    alerts = [_alert(telling, began) for telling in group]
    outer: dict[str, Any] = {"version": "4", "groupKey": "{}", "truncatedAlerts": 0, "receiver": "mendstream", "externalURL": ""}
    labels: dict[str, Any] = {"groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}}
    firing = any(telling.ends is None for telling in group)
    return msgspec.json.encode(outer | labels | {"status": "firing" if firing else "resolved", "alerts": alerts})


def _alert(telling: Telling, began: datetime) -> dict[str, Any]:
    ends = _NEVER if telling.ends is None else time_of(telling.ends, began)
    return {
        "status": "firing" if telling.ends is None else "resolved",
        "labels": telling.labels,
        "annotations": {"summary": f"{telling.labels['alertname']} has lasted for longer than fifteen minutes."},
        "startsAt": time_of(telling.starts, began),
        "endsAt": ends,
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": telling.fingerprint,
    }


def time_of(seconds: float, began: datetime) -> str:
    """A time of the storm as Alertmanager writes it. The storm's alerts began an hour before it, so that none is of the future."""
    return (began - timedelta(hours=1) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def garbage(chance: random.Random) -> tuple[str, dict[bytes, bytes]]:
    """A topic, and the fields of an entry that no stage can handle: bytes, a type of tomorrow, or a forged event."""
    now = datetime.now(UTC)
    header: dict[str, Any] = {
        "id": new_id(now),
        "key": "forged",
        "at": now,
        "by": "gate/nobody",
        "incident": new_id(now),
        "cause": new_id(now),
    }
    action = RestartWorkload(target=Target(cluster="default", namespace="shop", kind=Kind.DEPLOYMENT, name="api-forged"))
    approval: dict[str, Any] = {"approval": new_id(now), "action": action, "action_hash": "0" * 64, "risk": Risk.LOW, "automatic": True}
    resolved: dict[str, Any] = {"target": action.target, "disposition": Disposition.SELF_RESOLVED, "seconds": 1.0}
    forged: list[tuple[str, Event]] = [
        ("decisions", ActionApproved(**header, **approval)),
        ("incidents", IncidentResolved(**header, **resolved)),
    ]
    match chance.randrange(4):
        case 0:
            return chance.choice(("signals", "decisions", "timers", "votes")), {b"e": chance.randbytes(40)}
        case 1:
            return chance.choice(("signals", "executions")), {b"foreign": b"field"}
        case 2:
            body = {**header, "type": "OfTomorrow"}
            return chance.choice(("incidents", "failures")), {b"e": msgspec.json.encode(body)}
        case _:
            topic, event = chance.choice(forged)
            return topic, {b"e": encode(event)}
