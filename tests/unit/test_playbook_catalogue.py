"""The built-in catalogue: for each of its alerts a payload as Prometheus' exporters make it, what was seen, and the proposal it must give.

All of the catalogue is in the index each time, so that no playbook takes an alert from another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
import pytest

from adapters.alertmanager.webhook import parse
from ops.catalogue import built_in, read_all
from schemas.action import describe
from schemas.evidence import NodeView, OwnerView, Sensor, Snapshot
from schemas.matchers import parse_selector
from schemas.playbook import Playbook
from schemas.target import Kind, Target
from schemas.words import Mode
from sql.playbooks import PlaybookRow
from stages.ingest.options import IngestOptions
from stages.ingest.rules import severity_of
from stages.ingest.targets import target_of, workload_by_name
from stages.propose.case import Case, Suggestion
from tests.unit.playbook_cases import case, row, suggested
from tests.unit.snapshots import NOW, autoscaler, disks, held_by, host, job, node, pod, revision, snapshot, unit, without

PAYLOADS = Path(__file__).parents[1] / "data" / "playbooks"
OLD = (revision(1, "api:1", current=True, minutes=9000),)
NEW = (revision(2, "api:2", minutes=2, current=True), revision(1, "api:1", minutes=9000))


@cache
def catalogue() -> tuple[PlaybookRow, ...]:
    return tuple(row(playbook) for playbook in read_all(built_in()))


def about(alert: str, seen: Snapshot) -> Case:
    """The incident that the payload of an alert makes, about what was seen."""
    (told,) = parse((PAYLOADS / f"{alert}.json").read_bytes())
    target = workload_by_name(target_of(told.labels, default_cluster="prod", options=IngestOptions()))
    if target.kind is Kind.AUTOSCALER:  # whose workload the cluster names
        target = msgspec.structs.replace(target, kind=Kind.DEPLOYMENT)
    seen = msgspec.structs.replace(seen, target=target)
    return case(seen, severity=severity_of(told.labels), labels=(told.labels,))


def proposal(alert: str, seen: Snapshot) -> Suggestion:
    found = suggested(about(alert, seen), *catalogue())
    assert found is not None
    return found


def rolled_out(state: str) -> Snapshot:
    """A new revision none of whose pods works."""
    return snapshot(pod("a", state, owner="api-2", image="api:2"), pod("b", state, owner="api-2", image="api:2"), revisions=NEW)


def steady(state: str) -> Snapshot:
    """The only revision there is."""
    return snapshot(pod("a", state), revisions=OLD)


def lost() -> Snapshot:
    nodes = (NodeView(name="n1", ready=False), NodeView(name="n2", ready=True))
    return snapshot(pod("gone", "unready", node="n1"), pod("b", node="n2"), revisions=OLD, nodes=nodes)


def limited() -> Snapshot:
    view = pod("a", "oom")
    container = msgspec.structs.replace(view.containers[0], memory_limit=100 * 2**20)
    return snapshot(msgspec.structs.replace(view, containers=(container,)), revisions=OLD)


def namespace() -> Snapshot:
    target = Target(cluster="prod", kind=Kind.NAMESPACE, name="shop", namespace="shop")
    return Snapshot(target=target, at=NOW, sensors=(Sensor(name="events", seconds=0.1),))


def maxed() -> Snapshot:
    return held_by(steady("ok"), autoscaler(3, 3, more=True))


def made_by_cron() -> Snapshot:
    return msgspec.structs.replace(job("Failed"), owners=(OwnerView(kind="CronJob", name="import", uid="u"),))


def full() -> Snapshot:
    return host(host=disks(0.01))


def roomy() -> Snapshot:
    return host(host=disks(0.5))


def nginx(active: str) -> Snapshot:
    return host(unit("nginx.service", active), host=disks(0.5))


def container(active: str, sub: str = "") -> Snapshot:
    return host(unit("shop-web", active, sub))


Seen = Callable[[], Snapshot]
DEPLOYMENT, STATEFULSET, DAEMONSET = "deployment shop/api", "statefulset shop/db", "daemonset shop/agent"
LOOK = f"investigate {DEPLOYMENT}"
ON_NODE = "investigate node node-1"
ON_NAMESPACE = "investigate namespace shop/shop"
BACK = f"roll back {DEPLOYMENT} to revision 1"
RESTART = f"restart {DEPLOYMENT}"

EXPECTED: tuple[tuple[str, str, Seen, str], ...] = (
    ("KubePodCrashLooping", "kube-pod-crash-looping", lambda: rolled_out("crash"), BACK),
    ("KubePodCrashLooping", "kube-pod-crash-looping", lambda: steady("crash"), RESTART),
    ("KubePodCrashLooping", "kube-pod-crash-looping", limited, f"set the memory limit of container web of {DEPLOYMENT} to 200Mi"),
    ("KubePodCrashLooping", "kube-pod-crash-looping", lambda: steady("ok"), LOOK),
    ("KubePodCrashLooping", "kube-pod-crash-looping", lambda: steady("config"), LOOK),
    ("KubePodCrashLooping", "kube-pod-crash-looping", lambda: without(steady("crash"), "workload"), LOOK),
    ("KubePodNotReady", "kube-pod-not-ready", lambda: steady("unready"), RESTART),
    ("KubePodNotReady", "kube-pod-not-ready", lost, "evict pod shop/gone"),
    ("KubePodNotReady", "kube-pod-not-ready", lambda: steady("unschedulable"), LOOK),
    ("KubeContainerWaiting", "kube-container-waiting", lambda: rolled_out("pull"), BACK),
    ("KubeContainerWaiting", "kube-container-waiting", lambda: steady("pull"), LOOK),
    ("KubeDeploymentReplicasMismatch", "kube-deployment-replicas-mismatch", lambda: steady("crash"), RESTART),
    ("KubeDeploymentReplicasMismatch", "kube-deployment-replicas-mismatch", lost, "evict pod shop/gone"),
    ("KubeDeploymentRolloutStuck", "kube-deployment-rollout-stuck", lambda: rolled_out("pull"), BACK),
    ("KubeDeploymentRolloutStuck", "kube-deployment-rollout-stuck", lambda: steady("unschedulable"), LOOK),
    ("KubeDeploymentGenerationMismatch", "kube-deployment-generation-mismatch", lambda: steady("ok"), LOOK),
    ("KubeStatefulSetReplicasMismatch", "kube-statefulset-replicas-mismatch", lambda: steady("crash"), f"restart {STATEFULSET}"),
    ("KubeStatefulSetReplicasMismatch", "kube-statefulset-replicas-mismatch", lost, f"investigate {STATEFULSET}"),
    ("KubeStatefulSetUpdateNotRolledOut", "kube-statefulset-update", lambda: rolled_out("crash"), f"roll back {STATEFULSET} to revision 1"),
    ("KubeStatefulSetGenerationMismatch", "kube-statefulset-update", lambda: steady("ok"), f"investigate {STATEFULSET}"),
    ("KubeDaemonSetRolloutStuck", "kube-daemonset-rollout-stuck", lambda: steady("crash"), f"restart {DAEMONSET}"),
    ("KubeDaemonSetNotScheduled", "kube-daemonset-placement", lambda: steady("ok"), f"investigate {DAEMONSET}"),
    ("KubeDaemonSetMisScheduled", "kube-daemonset-placement", lambda: steady("ok"), f"investigate {DAEMONSET}"),
    ("KubeJobFailed", "kube-job-failed", lambda: job("Failed"), "run job shop/import again"),
    ("KubeJobFailed", "kube-job-failed", made_by_cron, "investigate job shop/import"),
    ("KubeJobNotCompleted", "kube-job-not-completed", job, "investigate job shop/import"),
    ("KubeHpaMaxedOut", "kube-hpa-maxed-out", maxed, f"let autoscaler api keep {DEPLOYMENT} between 1 and 5 replicas"),
    ("KubeHpaMaxedOut", "kube-hpa-maxed-out", lambda: held_by(steady("ok"), autoscaler(3, 3, blind="no metrics")), LOOK),
    ("KubeHpaReplicasMismatch", "kube-hpa-replicas-mismatch", lambda: steady("unschedulable"), LOOK),
    ("KubeNodeNotReady", "kube-node-not-ready", lambda: node(ready=False), "cordon node node-1"),
    ("KubeNodeNotReady", "kube-node-not-ready", lambda: node(ready=False, cordoned=True), ON_NODE),
    ("KubeNodeUnreachable", "kube-node-not-ready", lambda: node(ready=True), ON_NODE),
    ("KubeNodeReadinessFlapping", "kube-node-readiness-flapping", lambda: node(ready=True), ON_NODE),
    ("KubeNodePressure", "kube-node-pressure", lambda: node(ready=True), ON_NODE),
    ("KubeNodeEviction", "kube-node-pressure", lambda: node(ready=True), ON_NODE),
    ("KubeletTooManyPods", "kubelet-too-many-pods", lambda: node(ready=True), ON_NODE),
    ("KubeletClientCertificateExpiration", "kubelet-certificates", lambda: node(ready=True), ON_NODE),
    ("KubeletServerCertificateExpiration", "kubelet-certificates", lambda: node(ready=True), ON_NODE),
    ("KubeletClientCertificateRenewalErrors", "kubelet-certificates", lambda: node(ready=True), ON_NODE),
    ("KubeletServerCertificateRenewalErrors", "kubelet-certificates", lambda: node(ready=True), ON_NODE),
    ("KubeletPlegDurationHigh", "kubelet-slow", lambda: node(ready=True), ON_NODE),
    ("KubeletPodStartUpLatencyHigh", "kubelet-slow", lambda: node(ready=True), ON_NODE),
    ("KubePersistentVolumeFillingUp", "kube-persistent-volume-filling-up", lambda: node(ready=True), ON_NODE),
    ("KubePersistentVolumeInodesFillingUp", "kube-persistent-volume-filling-up", lambda: node(ready=True), ON_NODE),
    ("CPUThrottlingHigh", "cpu-throttling-high", lambda: steady("ok"), LOOK),
    ("KubeQuotaAlmostFull", "kube-quota", namespace, ON_NAMESPACE),
    ("KubeQuotaFullyUsed", "kube-quota", namespace, ON_NAMESPACE),
    ("KubeQuotaExceeded", "kube-quota", namespace, ON_NAMESPACE),
    ("KubePdbNotEnoughHealthyPods", "kube-pdb-not-enough-healthy-pods", namespace, ON_NAMESPACE),
    ("ContainerOOMKilled", "container-out-of-memory", limited, f"set the memory limit of container web of {DEPLOYMENT} to 200Mi"),
    ("KubeContainerOOMKilled", "container-out-of-memory", lambda: steady("oom"), RESTART),
    ("KubernetesContainerOomKiller", "container-out-of-memory", lambda: steady("ok"), LOOK),
    ("PodOOMKilled", "container-out-of-memory", lambda: rolled_out("oom"), BACK),
    (
        "NodeFilesystemSpaceFillingUp",
        "node-filesystem-space",
        full,
        "delete the images without a name that no container uses on host web-1",
    ),
    ("NodeFilesystemAlmostOutOfSpace", "node-filesystem-space", roomy, "run df on host web-1"),
    ("NodeFilesystemFilesFillingUp", "node-filesystem-files", roomy, "run df on host web-1"),
    ("NodeFilesystemAlmostOutOfFiles", "node-filesystem-files", roomy, "run df on host web-1"),
    ("NodeNetworkReceiveErrs", "node-network-errors", roomy, "run uptime, top on host web-1"),
    ("NodeNetworkTransmitErrs", "node-network-errors", roomy, "run uptime, top on host web-1"),
    ("NodeHighNumberConntrackEntriesUsed", "node-conntrack", roomy, "run top, ps on host web-1"),
    ("NodeClockSkewDetected", "node-clock", roomy, "run uptime, ps on host web-1"),
    ("NodeClockNotSynchronising", "node-clock", roomy, "run uptime, ps on host web-1"),
    ("NodeRAIDDegraded", "node-raid", roomy, "run df on host web-1"),
    ("NodeRAIDDiskFailure", "node-raid", roomy, "run df on host web-1"),
    ("NodeFileDescriptorLimit", "node-file-descriptors", roomy, "run ps, top on host web-1"),
    ("NodeCPUHighUsage", "node-cpu", roomy, "run top, uptime, ps on host web-1"),
    ("NodeSystemSaturation", "node-cpu", roomy, "run top, uptime, ps on host web-1"),
    ("NodeMemoryHighUtilization", "node-memory", roomy, "run free, top, ps on host web-1"),
    ("NodeMemoryMajorPagesFaults", "node-memory", roomy, "run free, top, ps on host web-1"),
    ("NodeDiskIOSaturation", "node-disk-io", roomy, "run top, ps, df on host web-1"),
    ("NodeBondingDegraded", "node-bonding", roomy, "run uptime on host web-1"),
    ("NodeTextFileCollectorScrapeError", "node-textfile", roomy, "run df, ps on host web-1"),
    ("NodeSystemdServiceFailed", "node-systemd-service-failed", lambda: nginx("failed"), "restart unit nginx.service on host web-1"),
    ("NodeSystemdServiceCrashlooping", "node-systemd-service-failed", lambda: nginx("active"), "run ps, free, df on host web-1"),
    ("SSLCertExpiringSoon", "certificate-expiry", roomy, "renew the certificates that are due on host web-1"),
    ("BlackboxSslCertificateWillExpireSoon", "certificate-expiry", roomy, "renew the certificates that are due on host web-1"),
    ("BlackboxSslCertificateExpired", "certificate-expiry", roomy, "renew the certificates that are due on host web-1"),
    ("ContainerDown", "host-container-down", lambda: container("exited"), "restart container shop-web on host web-1"),
    ("ContainerUnhealthy", "host-container-down", lambda: container("running", "unhealthy"), "restart container shop-web on host web-1"),
    ("ContainerRestarting", "host-container-down", lambda: container("running", "healthy"), "investigate host web-1"),
)


@pytest.mark.parametrize(("alert", "playbook", "seen", "what"), EXPECTED, ids=[f"{alert}-{what}" for alert, _, _, what in EXPECTED])
def test_each_alert_of_the_catalogue_gives_the_proposal_that_it_must(alert: str, playbook: str, seen: Seen, what: str) -> None:
    found = proposal(alert, seen())
    assert (found.playbook, describe(found.action)) == (playbook, what)


def test_every_alert_of_the_catalogue_has_a_payload_and_is_tried() -> None:
    named = {parse_selector(text)[0].value for one in catalogue() for text in one.playbook.symptoms.alerts}
    assert named == {file.stem for file in PAYLOADS.iterdir()} == {alert for alert, *_ in EXPECTED}
    assert len(named) >= 40


@pytest.mark.parametrize("playbook", [one.playbook for one in catalogue()], ids=lambda playbook: playbook.name)
def test_no_playbook_of_the_catalogue_runs_alone_and_each_ends_with_a_look_that_asks_people(playbook: Playbook) -> None:
    assert playbook.mode is Mode.ASSIST
    assert playbook.risk is None
    last = playbook.steps[-1]
    assert type(last).__name__ in ("Investigate", "DiagnoseHost")
    assert last.question
    assert not last.when


def test_a_step_that_changes_something_says_when_and_why() -> None:
    for one in catalogue():
        for step in one.playbook.steps:
            if type(step).__name__ not in ("Investigate", "DiagnoseHost"):
                assert step.when, one.name
                assert step.because, one.name
