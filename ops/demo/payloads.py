"""Webhook payloads as Alertmanager sends them (version 4)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

_ZERO = "0001-01-01T00:00:00Z"


def webhook(labels: dict[str, str], summary: str, *, starts_at: datetime, ends_at: datetime | None = None) -> dict[str, Any]:
    """One group with one alert, firing unless `ends_at` is given."""
    status = "resolved" if ends_at else "firing"
    fingerprint = hashlib.blake2b(repr(sorted(labels.items())).encode(), digest_size=8).hexdigest()
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{labels["alertname"]}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "mendstream",
        "groupLabels": {"alertname": labels["alertname"]},
        "commonLabels": labels,
        "commonAnnotations": {"summary": summary},
        "externalURL": "http://alertmanager.example:9093",
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": {"summary": summary},
                "startsAt": starts_at.isoformat(),
                "endsAt": ends_at.isoformat() if ends_at else _ZERO,
                "generatorURL": "http://prometheus.example:9090/graph",
                "fingerprint": fingerprint,
            }
        ],
    }
