"""What is asked of Prometheus, by kind of alert: one table of PromQL templates, each giving one number.

| kind       | probes                                                                       |
|------------|------------------------------------------------------------------------------|
| containers | memory as a share of its limit, restarts in 15 min, processor cores          |
| hosts      | memory available, file system free (shares), load per processor, up          |
| pods       | working set, processor cores over 5 min (the largest pod), restarts in 15 min |
| endpoints  | 1 less the success of the blackbox exporter                                  |
| else       | up                                                                           |

Restarts are counted for pods that are still there: what a replaced pod did says nothing of its successor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec

from adapters.prometheus.selection import Selection, accepted, equals, instance_of, labelled, pods_of
from schemas.target import Kind, Target
from schemas.words import Worse

_ENDPOINT = re.compile(r"probe|blackbox|endpoint|website|http.?check", re.IGNORECASE)
_WORKLOADS = (Kind.DEPLOYMENT, Kind.STATEFULSET, Kind.DAEMONSET, Kind.JOB, Kind.POD)
_REAL = 'fstype!~"tmpfs|ramfs|devtmpfs|overlay|squashfs|iso9660"'
_IDLE = 'mode="idle"'
_NO_PAUSE = 'container!="",container!="POD"'


class Family(StrEnum):
    """The kinds of alerts that are measured alike."""

    CONTAINERS = "containers"
    HOSTS = "hosts"
    PODS = "pods"
    ENDPOINTS = "endpoints"
    OTHERS = "others"


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One question; `ask` makes its PromQL from the target's selection, of `metric` among others. The rest is as in MetricView."""

    name: str
    metric: str
    unit: str
    worse: Worse
    ask: Callable[[Selection], str]
    ideal: float | None = None
    use: bool = False
    noise: float = 0.0


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One probe for one target. `query` is empty where it cannot be asked, and `refusal` says why.

    `sampled` asks for the time of the oldest of the samples that the value is made of (Unix time in seconds).
    """

    probe: Probe
    query: str
    sampled: str = ""
    refusal: str = ""


def _restarts(metric: str, function: str) -> Callable[[Selection], str]:
    return lambda these: f"sum({function}({these.of(metric)}[15m]) and {these.of(metric)})"


def _largest_pod(inner: Callable[[Selection], str]) -> Callable[[Selection], str]:
    return lambda these: f"max(sum by (namespace, pod) ({inner(these)}))"


def _cores(these: Selection, *more: str) -> str:
    return f"rate({these.of('container_cpu_usage_seconds_total', *more)}[5m])"


_UP = Probe(name="up", metric="up", unit="1", worse=Worse.DOWN, ideal=1.0, noise=0.01, ask=lambda these: f"min({these.first.of('up')})")
_POD_RESTARTS = Probe(
    name="restarts_15m",
    metric="kube_pod_container_status_restarts_total",
    unit="restarts",
    worse=Worse.UP,
    ideal=0.0,
    noise=0.5,
    ask=_restarts("kube_pod_container_status_restarts_total", "increase"),
)
_STARTS = Probe(
    name="restarts_15m",
    metric="container_start_time_seconds",
    unit="restarts",
    worse=Worse.UP,
    ideal=0.0,
    noise=0.5,
    ask=_restarts("container_start_time_seconds", "changes"),
)
_CORES = Probe(
    name="cpu_cores",
    metric="container_cpu_usage_seconds_total",
    unit="cores",
    worse=Worse.UP,
    use=True,
    noise=0.02,
    ask=lambda these: f"max(sum without (cpu) ({_cores(these)}))",
)
_MEMORY_RATIO = Probe(
    name="memory_ratio",
    metric="container_memory_working_set_bytes",
    unit="ratio",
    worse=Worse.UP,
    use=True,
    noise=0.02,
    ask=lambda these: f"max({these.of('container_memory_working_set_bytes')} / ({these.of('container_spec_memory_limit_bytes')} > 0))",
)

_PROBES: Mapping[Family, tuple[Probe, ...]] = {
    Family.CONTAINERS: (_MEMORY_RATIO, _POD_RESTARTS, _CORES),
    Family.HOSTS: (
        Probe(
            name="memory_available",
            metric="node_memory_MemAvailable_bytes",
            unit="ratio",
            worse=Worse.DOWN,
            noise=0.02,
            ask=lambda these: f"min({these.of('node_memory_MemAvailable_bytes')} / {these.of('node_memory_MemTotal_bytes')})",
        ),
        Probe(
            name="filesystem_free",
            metric="node_filesystem_avail_bytes",
            unit="ratio",
            worse=Worse.DOWN,
            noise=0.01,
            ask=lambda these: (
                f"min({these.of('node_filesystem_avail_bytes', _REAL)} / ({these.of('node_filesystem_size_bytes', _REAL)} > 0))"
            ),
        ),
        Probe(
            name="load",
            metric="node_load1",
            unit="load per processor",
            worse=Worse.UP,
            noise=0.1,
            ask=lambda these: f"max({these.of('node_load1')}) / count({these.of('node_cpu_seconds_total', _IDLE)})",
        ),
        _UP,
    ),
    Family.PODS: (
        Probe(
            name="working_set",
            metric="container_memory_working_set_bytes",
            unit="bytes",
            worse=Worse.UP,
            use=True,
            noise=4 * 1024 * 1024,
            ask=_largest_pod(lambda these: these.of("container_memory_working_set_bytes", _NO_PAUSE)),
        ),
        Probe(
            name="cpu_cores",
            metric="container_cpu_usage_seconds_total",
            unit="cores",
            worse=Worse.UP,
            use=True,
            noise=0.02,
            ask=_largest_pod(lambda these: _cores(these, _NO_PAUSE)),
        ),
        _POD_RESTARTS,
    ),
    Family.ENDPOINTS: (
        Probe(
            name="probe_failure",
            metric="probe_success",
            unit="ratio",
            worse=Worse.UP,
            ideal=0.0,
            noise=0.01,
            ask=lambda these: f"max(1 - {these.of('probe_success')})",
        ),
    ),
    Family.OTHERS: (_UP,),
}


def family_of(target: Target, alerts: Sequence[str], labels: Mapping[str, str]) -> Family:
    """The kind of alert, by what it is about and by its words.

    A workload is only an endpoint where the blackbox exporter says so: its own probes are about its pods.
    """
    words = labels.get("job", "") if target.kind in _WORKLOADS else " ".join((*alerts, labels.get("job", "")))
    if _ENDPOINT.search(words):
        return Family.ENDPOINTS
    if target.kind is Kind.HOST:
        return Family.CONTAINERS if labels.get("name") and "container" in " ".join(alerts).lower() else Family.HOSTS
    if target.kind is Kind.NODE:
        return Family.HOSTS
    if target.kind in _WORKLOADS:
        return Family.CONTAINERS if accepted(labels.get("container", "")) else Family.PODS
    return Family.OTHERS


def questions(target: Target, alerts: Sequence[str], labels: Mapping[str, str], *, cluster_label: str = "") -> tuple[Question, ...]:
    """The probes for a target and their queries; with a `cluster_label`, of that target's cluster only."""
    family = family_of(target, alerts, labels)
    these = _selection(family, target, labels)
    if these.alternatives and cluster_label:
        matcher = equals(cluster_label, target.cluster)
        these = these.within(matcher) if matcher else Selection(missing="its cluster has characters that are not written into PromQL")
    probes = _PROBES[family]
    if family is Family.CONTAINERS and target.kind is Kind.HOST:
        probes = tuple(_STARTS if probe is _POD_RESTARTS else probe for probe in probes)
    if not these.alternatives:
        return tuple(Question(probe=probe, query="", refusal=these.missing) for probe in probes)
    return tuple(Question(probe=probe, query=probe.ask(these), sampled=f"min(timestamp({these.of(probe.metric)}))") for probe in probes)


def _selection(family: Family, target: Target, labels: Mapping[str, str]) -> Selection:
    match family:
        case Family.ENDPOINTS:
            return labelled(labels, ("instance",), ("job",))
        case Family.HOSTS:
            return instance_of(target, labels)
        case Family.PODS:
            return pods_of(target)
        case Family.CONTAINERS if target.kind is Kind.HOST:
            name = equals("name", labels["name"])
            return instance_of(target, labels).within(name) if name else Selection(missing="the container's name is not one for PromQL")
        case Family.CONTAINERS:
            return pods_of(target).within(equals("container", labels["container"]))
        case _:
            return labelled(labels, ("instance", "job"), ("namespace",))
