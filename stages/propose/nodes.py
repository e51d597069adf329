"""The templates for nodes that are down: keep new pods away, and move a Deployment's pods off them one at a time."""

from __future__ import annotations

from schemas.action import CordonNode, EvictPod
from schemas.evidence import NodeView, PodView
from schemas.target import Kind, Target
from stages.propose.case import Case, Suggestion
from stages.propose.investigation import investigate


def suggest_for_node(case: Case) -> Suggestion:
    """A cordon of a node that is seen to be down. Nothing is moved off it: that is for the incidents of its workloads."""
    node = next((node for node in case.snapshot.nodes if node.name == case.target.name), None)
    name = case.target.name
    if node is None or node.ready is None:
        return investigate(case, f"The state of node {name} could not be measured.", question=f"Is node {name} up?")
    if node.ready:
        return investigate(case, f"Node {name} is ready: it has healed meanwhile, or something else is wrong.", confidence=0.9)
    pods = f"{len(case.snapshot.pods)} pods are on it"
    if node.cordoned:
        why = f"Node {name} is not ready ({_why(node)}) and takes no new pods already; {pods}."
        return investigate(case, why, question=f"Repair or replace node {name}.", confidence=0.9)
    return Suggestion(
        action=CordonNode(target=case.target),
        reasons=(
            f"Node {name} is not ready: {_why(node)}; {pods}.",
            "A cordon keeps new pods away until somebody has looked, also when it comes and goes. It moves none that is there.",
        ),
        confidence=0.7,
        root_cause=f"node {name} is down",
        question=f"Repair or replace node {name}: a cordon alone brings nothing back.",
    )


def suggest_off_lost_node(case: Case) -> Suggestion | None:
    """The eviction of one pod of a workload that is on a node which is down; None where there is none."""
    lost = {node.name: node for node in case.snapshot.nodes if node.ready is False}
    stranded = [pod for pod in case.snapshot.pods if pod.node in lost and not pod.ready and not pod.deleting]
    if not stranded:
        return None
    pod = stranded[0]
    node = lost[pod.node]
    seen = f"{len(stranded)} of its pods are on node {node.name}, which is down: {_why(node)}."
    if case.target.kind is not Kind.DEPLOYMENT:
        why = f"{seen} A {case.target.kind}'s pod is not made anew elsewhere while the node cannot say that the old one has ended."
        return investigate(case, why, question=f"Is node {node.name} off for good? Then delete it from the cluster, else bring it back.")
    if (blocked := _budget(case, seen)) is not None:
        return blocked
    return _evict(case, pod, seen, left=len(stranded) - 1)


def _evict(case: Case, pod: PodView, seen: str, *, left: int) -> Suggestion:
    target = Target(cluster=case.target.cluster, kind=Kind.POD, name=pod.name, namespace=case.target.namespace)
    more = f" {left} more of its pods are there: each is proposed when the one before has been judged." if left else ""
    return Suggestion(
        action=EvictPod(target=target, uid=pod.uid),
        reasons=(seen, f"Evicting one lets its controller make it anew on another node, as far as disruption budgets allow.{more}"),
        confidence=0.7,
        root_cause=f"node {pod.node} is down",
    )


def _budget(case: Case, seen: str) -> Suggestion | None:
    """People are asked where a disruption budget allows nothing: it is there to keep us from acting, and is never gone around."""
    closed = next((budget for budget in case.snapshot.budgets if budget.allowed <= 0), None)
    if closed is None:
        return None
    counts = f"{closed.healthy} of {closed.expected} pods are healthy, and it needs {closed.needed}"
    if closed.deadlocked:
        why = f"Disruption budget {closed.name} allows no eviction at all, even with every pod healthy: {counts}."
        question = f"Lower what budget {closed.name} needs, or add a replica to {case.target}: until then nothing of it can be evicted."
    else:
        why = f"Disruption budget {closed.name} allows no eviction now: {counts}."
        question = f"Bring pods of {case.target} back by hand, or lower what budget {closed.name} needs."
    return investigate(case, f"{seen} {why}", question=question, confidence=0.9)


def _why(node: NodeView) -> str:
    """What the node's own conditions say."""
    if not node.exists:
        return "it is not in the cluster any more"
    ready = next((one for one in node.conditions if one.type == "Ready"), None)
    return " ".join(word for word in (ready.reason, ready.message) if word) or f"Ready is {ready.status}" if ready else "it reports nothing"
