"""Notifications as Alertmanager posts them: version 4, a group of alerts in each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

_PROBLEMS = ("KubePodCrashLooping", "KubePodNotReady", "KubeContainerWaiting", "KubeDeploymentReplicasMismatch", "TargetDown")


def of_deployment(name: str, number: int = 0) -> dict[str, Any]:
    """One alert of severity info about a pod of the Deployment; another `number` is another alert."""
    problem = _PROBLEMS[number % len(_PROBLEMS)]
    pod = f"{name}-7d9c5b6f8-{number // len(_PROBLEMS):05x}"
    labels = {"alertname": problem, "severity": "info", "namespace": "shop", "pod": pod, "container": "app", "job": "kube-state-metrics"}
    summary = f"Pod shop/{pod} is in waiting state (reason: CrashLoopBackOff) for longer than fifteen minutes."
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": summary, "runbook_url": f"https://runbooks.example/kubernetes/{problem.lower()}"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph?g0.expr=kube_pod_container_status_waiting_reason",
        "fingerprint": hashlib.sha256(f"{problem}/{pod}".encode()).hexdigest()[:16],
    }


def notification(alerts: Sequence[dict[str, Any]]) -> bytes:
    """The body of one webhook."""
    return msgspec.json.encode(
        {
            "version": "4",
            "groupKey": '{}:{namespace="shop"}',
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "mendstream",
            "groupLabels": {"namespace": "shop"},
            "commonLabels": {"namespace": "shop", "severity": "info"},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.example",
            "alerts": list(alerts),
        }
    )


def in_groups(alerts: Sequence[dict[str, Any]], size: int) -> Iterator[bytes]:
    """Notifications of `size` alerts each."""
    for start in range(0, len(alerts), size):
        yield notification(alerts[start : start + size])
