"""What an investigation reports: everything that was seen, bounded and printable."""

from __future__ import annotations

from schemas.evidence import BudgetView, ConditionView, EventView, GitOps, NodeView, OwnerView, RevisionView, Sensor, Snapshot
from schemas.summary import summary
from schemas.usage import UsageView
from tests.unit.snapshots import NOW, TARGET, autoscaler, pod, snapshot


def test_it_tells_what_get_describe_events_and_logs_would_show() -> None:
    seen = snapshot(
        pod("api-1-abcde", "crash", node="node-1"),
        conditions=(ConditionView(type="Available", status="False", reason="MinimumReplicasUnavailable"),),
        revisions=(
            RevisionView(revision=1, name="api-1", images=("api:1",), was_available=True, availability="its rollout was completed"),
        ),
        nodes=(NodeView(name="node-1", ready=False, cordoned=True, pods=1),),
        budgets=(BudgetView(name="api", allowed=0, healthy=0, needed=1, expected=1),),
        autoscaler=autoscaler(4, 4, more=True),
        gitops=GitOps(tool="Argo CD", application="shop"),
        owners=(OwnerView(kind="Shop", name="main", uid="u"),),
        events=(EventView(reason="BackOff", message="restarting", about="pod/api", count=7),),
        logs={"api-1-abcde/web": "starting\nfatal: no database"},
        usage=(UsageView(of="api-1-abcde", container="web", cpu=0.0123, memory=20 * 2**20),),
    )

    text = summary(seen)

    for words in (
        "0 of 1 pods available",
        "condition Available False: MinimumReplicasUnavailable",
        "owned by Shop main",
        "managed by Argo CD application shop",
        "autoscaler api: 1 to 4 replicas, 4 now, 4 wanted, at its maximum and wants more",
        "disruption budget api: allows 0, 0 of 1 pods healthy, and none even when all are healthy",
        "revision 1: api:1; was fully available: its rollout was completed",
        "pod api-1-abcde on node-1: Running, web CrashLoopBackOff, 4 restarts, last ended with Error",
        "node node-1: not ready, cordoned, 1 of its pods",
        "event BackOff on pod/api (7 times): restarting",
        "log api-1-abcde/web: fatal: no database",
        "top api-1-abcde/web: cpu 12.3m, memory 20 MiB",
    ):
        assert words in text, words


def test_an_autoscaler_that_cannot_tell_says_why() -> None:
    text = summary(snapshot(pod("a"), autoscaler=autoscaler(1, 4, blind="no metrics returned")))
    assert "autoscaler api cannot tell how many are needed: no metrics returned" in text


def test_it_is_bounded_and_printable_and_says_what_was_not_seen() -> None:
    flood = {f"pod-{number}/web": "\x1b[31mpassword=hunter22 " + "x" * 5000 + "\n" * 50 for number in range(50)}
    events = tuple(EventView(reason="E", message="\x1b]0;owned\x07" * 40, about="pod/x") for _ in range(50))
    text = summary(snapshot(*(pod(f"p{number}") for number in range(90)), logs=flood, events=events))
    assert len(text) <= 4000
    assert len(text.splitlines()) <= 60
    assert "\x1b" not in text
    assert "hunter22" not in text
    unseen = Snapshot(target=TARGET, at=NOW, sensors=(Sensor(name="workload", seconds=0.1, error="forbidden"),))
    assert summary(unseen).splitlines() == ["deployment shop/api: could not be looked at", "not seen: workload: forbidden"]


def test_what_is_not_told_of_usage_is_never_shown_as_none() -> None:
    used = (UsageView(of="api-1", container="web", cpu=None, memory=2**20),)
    looked = (Sensor(name="top", seconds=0.1),)
    text = summary(snapshot(pod("api-1"), pod("api-2"), pod("api-3"), usage=used, sensors=looked))
    assert "top api-1/web: cpu not known, memory 1 MiB" in text
    assert "top: nothing is told of 2 of its pods" in text

    unseen = (Sensor(name="top", seconds=0.1, error="this cluster serves no metrics.k8s.io"),)
    text = summary(snapshot(pod("api-1"), sensors=unseen))
    assert "not seen: top: this cluster serves no metrics.k8s.io" in text
    assert "told of" not in text
