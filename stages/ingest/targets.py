"""Which thing an alert is about, read from its labels alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from schemas.target import Kind, Target
from schemas.text import clean
from stages.ingest.options import IngestOptions

_NAME = re.compile(r"[a-zA-Z0-9_.:-]{1,253}")
_NAME_LIMIT = 253
_NAMELESS = "unnamed"

# The names that kube-state-metrics and the Kubernetes mixin give to workloads.
_WORKLOADS = (
    ("deployment", Kind.DEPLOYMENT),
    ("statefulset", Kind.STATEFULSET),
    ("daemonset", Kind.DAEMONSET),
    ("job_name", Kind.JOB),
)
_EXPORTER = "kube-state-metrics"
_WITHOUT_POD = ("node", "resourcequota", "poddisruptionbudget")
_AUTOSCALERS = ("horizontalpodautoscaler", "hpa")
_WORKLOAD_TYPES = {kind.value.lower(): kind for _, kind in _WORKLOADS}
_REPLICASET_HASH = re.compile(r"-[a-z0-9]{8,10}$")

# What a controller adds to the names of its pods, by kind of controller.
_POD_NAMES = (
    (re.compile(r"(.+)-[a-z0-9]{8,10}-[a-z0-9]{5}"), Kind.DEPLOYMENT),
    (re.compile(r"(.+)-[bcdfghjklmnpqrstvwxz2456789]{5}"), Kind.DAEMONSET),
    (re.compile(r"(.+)-\d+"), Kind.STATEFULSET),
)


def target_of(labels: Mapping[str, str], *, default_cluster: str, options: IngestOptions) -> Target:
    """What the alert is about: a workload, else an autoscaler, a pod, a node, a host, a namespace, else something of unknown kind.

    A pod and an autoscaler stay what they are here; their workload is for the cluster to say. A name that no cluster or host could
    have makes the kind unknown, and its text is cleaned: nobody acts on it. The cluster is the one of the label, whether it is known
    or not.
    """
    kind, namespace, name = _thing(labels, options)
    default = options.default_hosts if kind is Kind.HOST else default_cluster
    cluster = labels.get("cluster") or default
    if kind is Kind.UNKNOWN or not all(_NAME.fullmatch(word) for word in (cluster, namespace or "-", name)):
        name = name or labels.get("alertname", "")
        return Target(cluster=_shown(cluster) or _NAMELESS, kind=Kind.UNKNOWN, namespace=_shown(namespace), name=_shown(name) or _NAMELESS)
    return Target(cluster=cluster, kind=kind, namespace=namespace, name=name)


def _shown(word: str) -> str:
    """A word that only people will read."""
    return clean(word, _NAME_LIMIT).replace("\n", " ")


def workload_by_name(target: Target) -> Target:
    """The workload that a pod's name speaks of, without its hash; a pod without one, and any other target, as it is."""
    if target.kind is not Kind.POD:
        return target
    for form, kind in _POD_NAMES:
        match = form.fullmatch(target.name)
        if match:
            return Target(cluster=target.cluster, kind=kind, namespace=target.namespace, name=match[1])
    return target


def partition_key(labels: Mapping[str, str], *, default_cluster: str, options: IngestOptions) -> str:
    """The incident key as far as labels can tell: it only chooses the partition in which the alert is handled."""
    return workload_by_name(target_of(labels, default_cluster=default_cluster, options=options)).key


def _thing(labels: Mapping[str, str], options: IngestOptions) -> tuple[Kind, str, str]:
    """Kind, namespace and name as the labels have them. `exported_` is Prometheus' prefix for what an exporter said itself."""
    namespace = labels.get("exported_namespace") or labels.get("namespace", "")
    node = labels.get("exported_node") or labels.get("node", "")
    if labels.get("job", "") in options.host_jobs:
        namespace, pod = "", ""
    elif _names_exporter(labels):
        namespace, pod = ("" if node else namespace), ""
    else:
        pod = labels.get("exported_pod") or labels.get("pod", "")
    if namespace:
        workload = _workload(labels)
        if workload:
            return workload[0], namespace, workload[1]
        if scaler := next((labels[label] for label in _AUTOSCALERS if labels.get(label)), ""):
            return Kind.AUTOSCALER, namespace, scaler
        if pod:
            return Kind.POD, namespace, pod
    if node:
        return Kind.NODE, "", node
    if namespace:
        return Kind.NAMESPACE, namespace, namespace
    host = labels.get("host") or labels.get("hostname") or labels.get("nodename") or _host_in(labels.get("instance", ""))
    if host:
        return Kind.HOST, "", host
    return Kind.UNKNOWN, "", pod


def _names_exporter(labels: Mapping[str, str]) -> bool:
    """Whether `pod` is kube-state-metrics itself: what it says of nodes, quotas and budgets has no pod, so Prometheus adds its own."""
    return labels.get("container") == _EXPORTER and any(labels.get(name) for name in _WITHOUT_POD)


def _workload(labels: Mapping[str, str]) -> tuple[Kind, str] | None:
    for label, kind in _WORKLOADS:
        if labels.get(label):
            return kind, labels[label]
    named = _WORKLOAD_TYPES.get(labels.get("workload_type", "").lower())
    if named and labels.get("workload"):
        return named, labels["workload"]
    if labels.get("replicaset"):
        return Kind.DEPLOYMENT, _REPLICASET_HASH.sub("", labels["replicaset"])
    return None


def _host_in(instance: str) -> str:
    """The host of `host:port`, `[v6]:port` or a URL; the text itself where it has no such form."""
    try:
        host = urlsplit(instance if "://" in instance else f"//{instance}").hostname
    except ValueError:
        return instance
    # urlsplit folds case, and hosts are found by the spelling of the settings.
    start = instance.lower().find(host) if host else -1
    return instance[start : start + len(host)] if host and start >= 0 else instance
