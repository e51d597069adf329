"""What is asked of Prometheus: the right series for each kind of alert, and never a word that somebody else wrote into the query."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.errors import WrongSettings
from adapters.prometheus.probes import Family, family_of, questions
from adapters.prometheus.selection import accepted, label_name
from schemas.target import Kind, Target

API = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="api")
HOST = Target(cluster="hosts", kind=Kind.HOST, name="web-1")
NODE = Target(cluster="prod", kind=Kind.NODE, name="node-1.example")
OTHER = Target(cluster="prod", kind=Kind.UNKNOWN, name="thing")


def pod(name: str) -> Target:
    return Target(cluster="prod", namespace="shop", kind=Kind.POD, name=name)


def asked(target: Target, alerts: tuple[str, ...] = (), cluster_label: str = "", **labels: str) -> dict[str, str]:
    """The queries by the names of their probes."""
    return {question.probe.name: question.query for question in questions(target, alerts, labels, cluster_label=cluster_label)}


@pytest.mark.parametrize(
    ("target", "alerts", "labels", "family", "names"),
    [
        (API, ("KubePodCrashLooping",), {}, Family.PODS, ["working_set", "cpu_cores", "restarts_15m"]),
        (pod("api-0"), ("Slow",), {}, Family.PODS, ["working_set", "cpu_cores", "restarts_15m"]),
        (API, ("ContainerMemory",), {"container": "web"}, Family.CONTAINERS, ["memory_ratio", "restarts_15m", "cpu_cores"]),
        (HOST, ("ContainerDown",), {"name": "redis"}, Family.CONTAINERS, ["memory_ratio", "restarts_15m", "cpu_cores"]),
        (HOST, ("HostDown",), {}, Family.HOSTS, ["memory_available", "filesystem_free", "load", "up"]),
        (NODE, ("KubeNodeNotReady",), {}, Family.HOSTS, ["memory_available", "filesystem_free", "load", "up"]),
        (HOST, ("EndpointDown",), {"instance": "web-1:443"}, Family.ENDPOINTS, ["probe_failure"]),
        (OTHER, ("Down",), {"job": "blackbox", "instance": "a"}, Family.ENDPOINTS, ["probe_failure"]),
        (API, ("LivenessProbeFails",), {"job": "kube-state-metrics"}, Family.PODS, ["working_set", "cpu_cores", "restarts_15m"]),
        (API, ("Down",), {"job": "blackbox", "instance": "api:80"}, Family.ENDPOINTS, ["probe_failure"]),
        (OTHER, ("TargetDown",), {"job": "node"}, Family.OTHERS, ["up"]),
    ],
)
def test_each_kind_of_alert_has_its_probes(
    target: Target, alerts: tuple[str, ...], labels: dict[str, str], family: Family, names: list[str]
) -> None:
    assert family_of(target, alerts, labels) is family
    assert list(asked(target, alerts, **labels)) == names


@pytest.mark.parametrize(
    ("target", "ours", "others"),
    [
        (API, ["api-7d9f8b6c5d-x2x4z", "api-5c689d88bb-2lkdf"], ["api-gateway-7d9f8b6c5d-x2x4z", "api-0", "api", "xapi-7d9f8b6c5d-x2x4z"]),
        (Target(cluster="p", namespace="s", kind=Kind.STATEFULSET, name="db"), ["db-0", "db-12"], ["db-x-0", "db-main-1", "db"]),
        (Target(cluster="p", namespace="s", kind=Kind.DAEMONSET, name="log"), ["log-x2x4z"], ["log-x2x4z-x2x4z", "log-1"]),
        (Target(cluster="p", namespace="s", kind=Kind.JOB, name="a.b"), ["a.b-x2x4z"], ["axb-x2x4z"]),
    ],
)
def test_a_workloads_pods_are_told_from_those_of_its_namesakes(target: Target, ours: list[str], others: list[str]) -> None:
    match = re.search(r'pod=~"([^"]*)"', asked(target)["restarts_15m"])
    assert match is not None
    assert [name for name in (*ours, *others) if re.fullmatch(match[1], name)] == ours


def test_a_query_is_about_the_target_alone() -> None:
    assert asked(pod("api-0"))["restarts_15m"] == (
        'sum(increase(kube_pod_container_status_restarts_total{namespace="shop",pod="api-0"}[15m])'
        ' and kube_pod_container_status_restarts_total{namespace="shop",pod="api-0"})'
    )
    assert asked(OTHER, instance="a:1", job="x", namespace="n")["up"] == 'min(up{instance="a:1",job="x",namespace="n"})'
    assert asked(HOST, ("ContainerDown",), name="redis")["restarts_15m"].count('instance=~"web-1(:[0-9]+)?",name="redis"') == 2


def test_a_host_is_asked_by_its_own_exporter() -> None:
    assert asked(HOST, instance="web-1:9100")["up"] == 'min(up{instance="web-1:9100"})'
    assert asked(HOST, instance="10.0.0.9:9100")["up"] == 'min(up{instance=~"web-1(:[0-9]+)?"})'
    assert asked(NODE, instance="node-1.example:8080", job="kube-state-metrics")["up"] == 'min(up{instance=~"node-1[.]example(:[0-9]+)?"})'
    assert ' or node_load1{node="node-1.example"})' in asked(NODE)["load"]


def test_a_shared_prometheus_is_asked_for_one_cluster() -> None:
    cases: list[tuple[Target, dict[str, str]]] = [
        (API, {}),
        (HOST, {}),
        (NODE, {}),
        (API, {"container": "web"}),
        (OTHER, {"instance": "a"}),
    ]
    for target, labels in cases:
        for query in asked(target, (), "cluster", **labels).values():
            assert 0 < len(re.findall(r"[a-z]\w+\{", query)) == query.count(f'cluster="{target.cluster}"')


@pytest.mark.parametrize(
    ("target", "labels", "said"),
    [
        (Target(cluster="p", namespace="s", kind=Kind.POD, name='x"} or vector(1'), {}, "its namespace or name has characters"),
        (Target(cluster="p", kind=Kind.HOST, name="a b"), {}, "its name has characters"),
        (OTHER, {"instance": "https://shop.example/health"}, "its label instance has characters"),
        (OTHER, {"instance": "ok", "job": 'x"'}, "its label job has characters"),
        (OTHER, {}, "the alert has no label instance or job"),
        (Target(cluster="p", namespace="s", kind=Kind.NAMESPACE, name="s"), {}, "the alert has no label"),
    ],
)
def test_what_cannot_be_told_from_others_is_not_asked(target: Target, labels: dict[str, str], said: str) -> None:
    """Dropping the label alone would ask about more than the target, and answer with something else's health."""
    for question in questions(target, (), labels):
        assert question.query == ""
        assert said in question.refusal


def test_a_cluster_that_cannot_be_named_is_not_asked_about() -> None:
    strange = Target(cluster='p"', namespace="shop", kind=Kind.DEPLOYMENT, name="api")
    assert set(asked(strange, cluster_label="cluster").values()) == {""}
    with pytest.raises(WrongSettings, match="no name of a label"):
        label_name('cluster="x",a')


WORDS = st.text(max_size=140) | st.sampled_from(
    [
        '"',
        '"} or vector(1) #',
        "\\",
        "a\nb",
        'x",pod=~".*',
        "{{.}}",
        "a|b",
        ".*",
        "[a]",
        "(",
        "$1",
        "\u202e",
        "a" * 129,
        "a" * 128,
        "ok",
        "a.b:9100",
    ]
)
TARGETS = st.builds(Target, cluster=WORDS, kind=st.sampled_from(Kind), name=WORDS, namespace=WORDS)
LABELS = st.dictionaries(
    st.sampled_from(["instance", "job", "container", "name", "pod", "namespace", "cluster", "mountpoint", "host"]) | WORDS,
    WORDS,
    max_size=6,
)
_QUOTED = re.compile(r'"[^"\\\n]*"')
_WRITTEN = re.compile(r'(=~?)"([^"]*)"')
_OURS = re.compile(r'fstype!~"[^"]*"|container!="[^"]*"|mode="idle"')


def shape(query: str) -> str:
    return _QUOTED.sub('""', query)


BENIGN = {"instance": "i", "job": "j", "container": "c", "name": "n", "namespace": "s"}
SHAPES = {
    shape(text)
    for kind in Kind
    for alerts in ((), ("EndpointDown",), ("ContainerDown",))
    for instance in ("i", "t", "t:1")
    for job in ("j", "blackbox")
    for chosen in range(2 ** len(BENIGN))
    for label in ("", "cluster")
    for question in questions(
        Target(cluster="c", kind=kind, name="t", namespace="s"),
        alerts,
        {name: value for place, (name, value) in enumerate((BENIGN | {"instance": instance, "job": job}).items()) if chosen >> place & 1},
        cluster_label=label,
    )
    for text in (question.query, question.sampled)
}


@given(TARGETS, st.lists(WORDS | st.sampled_from(["EndpointDown", "ContainerDown"]), max_size=2), LABELS, st.sampled_from(["", "cluster"]))
@example(Target(cluster="p", kind=Kind.POD, namespace="shop", name='a"} or vector(0) or up{job="'), [], {}, "")
@example(OTHER, [], {"instance": "a", "job": 'b"} or up{x="'}, "")
@example(HOST, ["ContainerDown"], {"name": 'x",instance=~".*'}, "")
@example(API, [], {"container": 'web"} or vector(1) #'}, "cluster")
@example(HOST, [], {"instance": "web-1:9100\n"}, "")
def test_no_value_changes_the_structure_of_a_query(target: Target, alerts: list[str], labels: dict[str, str], label: str) -> None:
    """With its quoted values taken out, every query is one of those that harmless values give, and each value is a plain one."""
    for question in questions(target, alerts, labels, cluster_label=label):
        for text in (question.query, question.sampled):
            assert shape(text) in SHAPES
            for operator, value in _WRITTEN.findall(_OURS.sub("", text)):
                literal = re.sub(r"\[\.\]|\(:\[0-9\]\+\)\?$|-\[[a-z0-9-]+\](?:\{[0-9,]+\}|\+)", "", value) if operator == "=~" else value
                assert literal == "" or re.fullmatch(r"[a-zA-Z0-9_.:-]{1,128}", literal)


@given(WORDS)
def test_only_plain_values_are_accepted(word: str) -> None:
    assert accepted(word) == (word if re.fullmatch(r"[a-zA-Z0-9_.:-]{1,128}", word) else "")
