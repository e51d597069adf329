"""Which thing an alert is about, how bad it is and what it is called, read from its labels."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import SignalReceived
from schemas.identity import new_id
from schemas.target import Kind, Target
from schemas.words import Severity, SignalStatus
from stages.ingest.options import IngestOptions
from stages.ingest.rules import alert_of, services_of, severity_of, title_of
from stages.ingest.targets import partition_key, target_of, workload_by_name

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = IngestOptions()
EXPORTER = {"namespace": "monitoring", "pod": "ksm-1", "container": "kube-state-metrics", "job": "kube-state-metrics"}


def found(**labels: str) -> str:
    """The incident key of the target that labels name."""
    return target_of(labels, default_cluster="home", options=OPTIONS).key


@pytest.mark.parametrize(
    ("labels", "key"),
    [
        ({"namespace": "n", "deployment": "api"}, "home/n/Deployment/api"),
        ({"namespace": "n", "statefulset": "db"}, "home/n/StatefulSet/db"),
        ({"namespace": "n", "daemonset": "agent"}, "home/n/DaemonSet/agent"),
        ({"namespace": "n", "job_name": "backup"}, "home/n/Job/backup"),
        ({"namespace": "n", "workload": "api", "workload_type": "deployment"}, "home/n/Deployment/api"),
        ({"namespace": "n", "replicaset": "api-7d9f8b6c5d"}, "home/n/Deployment/api"),
        ({"namespace": "n", "pod": "api-7d9f8b6c5d-x2x4z"}, "home/n/Pod/api-7d9f8b6c5d-x2x4z"),
        ({"namespace": "n", "deployment": "api", "pod": "ksm-1"}, "home/n/Deployment/api"),
        ({"namespace": "monitoring", "exported_namespace": "n", "pod": "ksm-1", "exported_pod": "api-1"}, "home/n/Pod/api-1"),
        ({"namespace": "n", "pod": "api-1", "node": "w1"}, "home/n/Pod/api-1"),
        ({"namespace": "n", "horizontalpodautoscaler": "load", "pod": "ksm-1"}, "home/n/HorizontalPodAutoscaler/load"),
        ({"namespace": "n", "hpa": "load"}, "home/n/HorizontalPodAutoscaler/load"),
        ({"namespace": "n", "hpa": "load", "deployment": "api"}, "home/n/Deployment/api"),
        ({"node": "w1", "instance": "10.0.0.1:9100"}, "home//Node/w1"),
        ({"job": "node-exporter", "namespace": "m", "pod": "node-exporter-x2x4z", "instance": "10.0.0.1:9100"}, "hosts//Host/10.0.0.1"),
        ({"job": "node-exporter", "namespace": "m", "pod": "node-exporter-x2x4z", "node": "w1"}, "home//Node/w1"),
        ({**EXPORTER, "node": "w1"}, "home//Node/w1"),
        ({**EXPORTER, "namespace": "n", "resourcequota": "all"}, "home/n/Namespace/n"),
        ({**EXPORTER, "namespace": "n", "poddisruptionbudget": "api"}, "home/n/Namespace/n"),
        (EXPORTER, "home/monitoring/Pod/ksm-1"),
        ({"namespace": "n"}, "home/n/Namespace/n"),
        ({"namespace": "n", "instance": "10.0.0.1:80"}, "home/n/Namespace/n"),
        ({"instance": "Web-1.example:9100"}, "hosts//Host/Web-1.example"),
        ({"instance": "[fd00::1]:9100"}, "hosts//Host/fd00::1"),
        ({"instance": "https://shop.example/cart?a=b"}, "hosts//Host/shop.example"),
        ({"instance": "plain"}, "hosts//Host/plain"),
        ({"host": "web-1", "instance": "10.0.0.1:80"}, "hosts//Host/web-1"),
        ({"host": "web-1", "cluster": "racks"}, "racks//Host/web-1"),
        ({"namespace": "n", "deployment": "api", "cluster": "nobody-knows"}, "nobody-knows/n/Deployment/api"),
        ({"deployment": "blue", "instance": "web-1:80"}, "hosts//Host/web-1"),
        ({"deployment": "api", "alertname": "Down"}, "home//Unknown/Down"),
        ({"pod": "api-1"}, "home//Unknown/api-1"),
        ({"alertname": "Odd"}, "home//Unknown/Odd"),
        ({}, "home//Unknown/unnamed"),
        ({"namespace": "n", "deployment": "a b"}, "home/n/Unknown/a b"),
        ({"namespace": "n/x", "deployment": "api"}, "home/n/x/Unknown/api"),
        ({"namespace": "n", "deployment": "api", "cluster": "a\nb"}, "a b/n/Unknown/api"),
        ({"namespace": "n", "deployment": "a" * 254}, "home/n/Unknown/" + "a" * 252 + "…"),
        ({"instance": "[broken:80"}, "hosts//Unknown/[broken:80"),
    ],
)
def test_the_target_is_what_the_labels_name(labels: dict[str, str], key: str) -> None:
    assert found(**labels) == key


@pytest.mark.parametrize(
    ("pod", "kind", "name"),
    [
        ("api-7d9f8b6c5d-x2x4z", Kind.DEPLOYMENT, "api"),
        ("a-b-c-56b8c7d9f-bbbbb", Kind.DEPLOYMENT, "a-b-c"),
        ("agent-x2x4z", Kind.DAEMONSET, "agent"),
        ("db-0", Kind.STATEFULSET, "db"),
        ("db-12", Kind.STATEFULSET, "db"),
        ("lonely", Kind.POD, "lonely"),
        ("x2x4z", Kind.POD, "x2x4z"),
    ],
)
def test_a_pods_name_tells_its_workload(pod: str, kind: Kind, name: str) -> None:
    target = Target(cluster="c", kind=Kind.POD, namespace="n", name=pod)
    assert workload_by_name(target) == Target(cluster="c", kind=kind, namespace="n", name=name)


def test_pods_of_one_deployment_share_its_partition() -> None:
    keys = {
        partition_key({"namespace": "n", **labels}, default_cluster="c", options=OPTIONS)
        for labels in ({"pod": "api-7d9f8b6c5d-x2x4z"}, {"pod": "api-7d9f8b6c5d-bbbbb"}, {"deployment": "api"})
    }
    assert keys == {"c/n/Deployment/api"}


texts = st.text(max_size=300)
names = st.sampled_from(
    ["cluster", "namespace", "deployment", "pod", "node", "instance", "host", "job", "workload", "workload_type", "alertname"]
)


@given(labels=st.dictionaries(names, texts | st.sampled_from(["deployment", "node-exporter", "http://[", "a:b:c", "\x00", "\n"])))
def test_any_labels_have_a_target_that_postgres_can_hold(labels: dict[str, str]) -> None:
    target = target_of(labels, default_cluster="c", options=OPTIONS)
    assert "\x00" not in target.key
    assert "\n" not in target.key
    assert max(len(target.cluster), len(target.namespace), len(target.name)) <= 253
    assert target.name
    assert target.cluster
    if target.kind is not Kind.UNKNOWN:
        assert target.key.count("/") == 3


@pytest.mark.parametrize(
    ("labels", "severity"),
    [
        ({"severity": "critical"}, Severity.P0),
        ({"severity": "high"}, Severity.P1),
        ({"severity": "error"}, Severity.P1),
        ({"severity": "page"}, Severity.P1),
        ({"severity": "Warning "}, Severity.P2),
        ({"severity": "info"}, Severity.P3),
        ({"severity": "none"}, Severity.P3),
        ({"severity": "odd"}, Severity.P2),
        ({}, Severity.P2),
        ({"severity": "p0"}, Severity.P0),
        ({"severity": "P3"}, Severity.P3),
        ({"severity": "info", "priority": "P1"}, Severity.P1),
        ({"severity": "critical", "priority": "high"}, Severity.P0),
    ],
)
def test_severity_by_label(labels: dict[str, str], severity: Severity) -> None:
    assert severity_of(labels) is severity


def signal(labels: dict[str, str], annotations: dict[str, str]) -> SignalReceived:
    header = {"id": new_id(NOW), "key": "k", "at": NOW, "by": "t", "fingerprint": "f", "starts_at": NOW, "source": "s"}
    return SignalReceived(**header, status=SignalStatus.FIRING, labels=labels, annotations=annotations)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("annotations", "title"),
    [
        ({"summary": "It is  down\nnow", "description": "long"}, "It is down now"),
        ({"summary": " ", "description": "long"}, "long"),
        ({"summary": "\x00"}, "Down"),
        ({}, "Down"),
        ({"summary": "token=abcdef"}, "token=***"),
        ({"summary": "x" * 500}, "x" * 199 + "…"),
    ],
)
def test_the_title_is_one_line_for_people(annotations: dict[str, str], title: str) -> None:
    assert title_of(signal({"alertname": "Down"}, annotations)) == title


def test_names_of_alerts_and_services_are_cleaned() -> None:
    assert alert_of({"alertname": "Down\x00" + "x" * 200}) == "Down" + "x" * 123 + "…"
    assert alert_of({}) == "unnamed alert"
    assert services_of({"service": "cart\x1b", "app": "cart", "other": "no"}) == ["cart"]
