"""From the alerts of a webhook to signals: all of them are fit to be handled, or none is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from adapters.alertmanager.fingerprint import fingerprint_of
from adapters.alertmanager.webhook import Alert, InvalidPayload
from schemas.events import SignalReceived
from schemas.identity import new_id
from schemas.text import clean, clean_labels
from stages.ingest.bounds import fault_of
from stages.ingest.options import IngestOptions
from stages.ingest.targets import partition_key

SOURCE = "alertmanager"
_ANNOTATIONS = 64  # annotations kept of one alert; they identify nothing, so the rest may go
_ANNOTATION = 4096  # characters kept of each
_URL = 2048  # characters
_SLICE = 20_000  # characters that are read before the other tasks of the process get their turn
_ALERT = 400  # characters that an alert counts for beside its annotations


async def signals_of(
    alerts: Sequence[Alert], *, now: datetime, by: str, default_cluster: str = "default", options: IngestOptions | None = None
) -> list[SignalReceived]:
    """One signal for each alert, in their order. Raises InvalidPayload, which names the field of the first unfit alert.

    The other tasks get a turn in between: a large payload takes seconds, and heartbeats, leases and senders do not wait that long.
    """
    options = options or IngestOptions()
    signals: list[SignalReceived] = []
    work = 0
    for number, alert in enumerate(alerts):
        annotations: dict[str, str] = {}
        for name, value in islice(alert.annotations.items(), _ANNOTATIONS):
            annotations |= _cleaned(name, value)
            work = await _turn(work + len(name) + len(value))
        signal = SignalReceived(
            id=new_id(now),
            key=partition_key(alert.labels, default_cluster=default_cluster, options=options),
            at=now,
            by=by,
            fingerprint=alert.fingerprint or fingerprint_of(alert.labels),
            status=alert.status,
            starts_at=alert.starts_at,
            ends_at=alert.ends_at,
            labels=alert.labels,
            annotations=annotations,
            generator_url=clean(alert.generator_url, _URL),
            source=SOURCE,
        )
        fault = fault_of(signal, now)
        if fault:
            raise InvalidPayload(f"$.alerts[{number}].{fault.field}", fault.reason)
        signals.append(signal)
        work = await _turn(work + _ALERT + sum(map(len, alert.labels.values())) + len(alert.generator_url))
    return signals


async def _turn(work: int) -> int:
    """Gives the other tasks their turn when this much was worked; what counts as worked from here on, in characters."""
    if work < _SLICE:
        return work
    await asyncio.sleep(0)
    return 0


def _cleaned(name: str, value: str) -> dict[str, str]:
    """Annotations identify nothing: what looks like a secret in them, and what is too long, does not even reach the stream."""
    return clean_labels({name: value}, limit=_ANNOTATION)
