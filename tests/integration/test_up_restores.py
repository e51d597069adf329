"""`mend up` keeps its streams: what every group has finished goes, and what Redis loses comes back from Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from redis import Redis

from ops.demo.payloads import webhook
from ops.wiring import ARCHIVE, STAGES
from tests.integration.mend_process import SETTINGS, Mend, end, installation, until

pytestmark = pytest.mark.slow
HURRY = """
[archive]
trim_period = 0.2
[archive.sweeper]
period = 0.2
grace = 1.0
"""
LABELS = {"alertname": "Down", "namespace": "shop", "deployment": "api", "severity": "critical"}


@pytest.fixture
def mend() -> Iterator[Mend]:
    with installation(SETTINGS + HURRY) as mend:
        yield mend


@pytest.mark.parametrize("apart", [False, True], ids=["one process", "the archive as a process of its own"])
def test_what_is_finished_goes_and_what_redis_loses_comes_back(mend: Mend, apart: bool) -> None:
    others = [word for name in STAGES if name != ARCHIVE for word in ("--stage", name)] if apart else []
    processes = [mend.up("--sandbox", *others), *([mend.start("up", "--stage", ARCHIVE)] if apart else [])]
    with Redis.from_url(mend.run.redis.reveal()) as redis:
        mend.said("send-alert", "-", stdin=json.dumps(webhook(LABELS, "it is down", starts_at=datetime.now(UTC))))
        until(lambda: mend.json("incidents", "ls"), mend.log)
        until(lambda: redis.exists("mend:{0}:signals") and redis.xlen("mend:{0}:signals") == 0, mend.log)
        redis.flushall()
        until(lambda: b"events_appended_again" in mend.log.read_bytes(), mend.log)
        (incident,) = mend.json("incidents", "ls")
        assert incident["state"] == "INVESTIGATING"
    for process in reversed(processes):
        assert end(process) == 0
