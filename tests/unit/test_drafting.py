"""What a draft keeps of an alert's labels, so that it fits the same problem again and no other."""

from __future__ import annotations

import pytest

from schemas.matchers import parse_selector, write_selector
from stages.learn.drafting import generalised


@pytest.mark.parametrize(
    ("label", "value", "written", "again", "other"),
    [
        ("container", "web", 'container="web"', "web", "sidecar"),
        ("pod", "api-7d9f8b6c5d-x2x4z", 'pod=~"api-[a-z0-9]{8,10}-[a-z0-9]{5}"', "api-5f6d7c8b9f-b2c4d", "api-gate-7d9f8b6c5d-x2x4z"),
        ("pod", "agent-x2x4z", 'pod=~"agent-[a-z0-9]{5}"', "agent-b2c4d", "agent-b2c4d-b2c4d"),
        ("pod", "db-0", 'pod=~"db-[0-9]+"', "db-12", "db-x"),
        ("instance", "web-1:9100", 'instance=~"web\\\\-[0-9]+:[0-9]+"', "web-22:9101", "db-1:9100"),
        ("device", "sda1", 'device=~"sda[0-9]+"', "sda2", "vda1"),
        ("name", "job-3f9a8b7c6d5e4f30", 'name=~"job\\\\-[0-9a-f]+"', "job-00ffee00ffee00ff", "task-3f9a8b7c6d5e4f30"),
        ("reason", 'Crash"Loop', 'reason="Crash\\"Loop"', 'Crash"Loop', "Crash"),
    ],
)
def test_what_changes_from_time_to_time_matches_any_other(label: str, value: str, written: str, again: str, other: str) -> None:
    selector = generalised({label: value, "severity": "warning", "alertname": "Odd", "prometheus": "k8s"})
    assert write_selector(selector) == written
    (read,) = parse_selector(written)
    assert (read.holds({label: value}), read.holds({label: again}), read.holds({label: other})) == (True, True, False)


@pytest.mark.parametrize(
    "labels",
    [
        {"instance": "10.0.3.4:8080"},
        {"container": ""},
        {"container": "x" * 121},
        {"container": "a\x1b[31mb"},
        {"container": "***"},
        {"team": "shop", "namespace": "shop", "uid": "abc"},
    ],
)
def test_what_says_nothing_that_comes_again_is_left_out(labels: dict[str, str]) -> None:
    assert generalised(labels) == ()
