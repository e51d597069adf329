"""From a step to an action: what it may be about, and that no label can make it another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import (
    CordonNode,
    EvictPod,
    Investigate,
    RerunJob,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
)
from schemas.evidence import NodeView, Snapshot
from schemas.facts import FACTS
from schemas.playbook import Playbook
from schemas.playbook_steps import STEPS
from schemas.target import Kind
from schemas.words import Risk, Severity
from stages.propose.options import ProposeOptions
from stages.propose.playbooks.facts import known
from tests.unit.playbook_cases import OPTIONS, case, playbook, suggested
from tests.unit.snapshots import HOST, TARGET, autoscaler, disks, held_by, host, job, node, pod, revision, snapshot, unit

ROLLOUT = snapshot(
    pod("new", "crash", owner="api-2", image="api:2"),
    pod("old", owner="api-1"),
    revisions=(revision(2, "api:2", minutes=2, current=True), revision(1, "api:1", minutes=900, available=1)),
)
LOST = snapshot(
    pod("gone", "unready", node="n1"), pod("fine", node="n2"), nodes=(NodeView(name="n1", ready=False), NodeView(name="n2", ready=True))
)
DOWN = host(unit("nginx.service", "failed"), unit("web", "exited", service="shop/web"), host=disks(0.01))


def steps(*lines: str) -> Playbook:
    return playbook(steps="[" + ", ".join(f"{{{line}}}" for line in lines) + "]")


def action_of(seen: Snapshot, line: str, labels: Mapping[str, str] | None = None, options: ProposeOptions = OPTIONS) -> Any:
    about = case(seen, labels=({"alertname": "A", **(labels or {})},))
    found = suggested(about, steps(line), options=options)
    return None if found is None else found.action


@pytest.mark.parametrize(
    ("seen", "line", "action"),
    [
        (snapshot(pod("a", "crash")), "do: RestartWorkload", RestartWorkload(target=TARGET)),
        (ROLLOUT, 'do: RollBackWorkload, to_revision: "{evidence.rollout.good}"', RollBackWorkload(target=TARGET, to_revision=1)),
        (snapshot(pod("a")), 'do: ScaleWorkload, replicas: "{evidence.workload.more}"', ScaleWorkload(target=TARGET, replicas=2)),
        (
            held_by(snapshot(pod("a")), autoscaler(3, 3, more=True)),
            'do: SetAutoscalerBounds, autoscaler: "{evidence.autoscaler.name}", minimum: 1, maximum: "{evidence.autoscaler.more}"',
            SetAutoscalerBounds(target=TARGET, autoscaler="api", minimum=1, maximum=5),
        ),
        (
            LOST,
            'do: EvictPod, pod: "{evidence.lost.pod}"',
            EvictPod(target=msgspec.structs.replace(TARGET, kind=Kind.POD, name="gone"), uid="uid-gone"),
        ),
        (node(ready=False), "do: CordonNode", CordonNode(target=node(ready=False).target)),
        (job("Failed"), "do: RerunJob", RerunJob(target=job().target)),
        (DOWN, 'do: RestartUnit, unit: "{labels.unit}"', RestartUnit(target=HOST, unit="nginx.service")),
        (
            DOWN,
            "do: RestartContainer, container: web, when: [evidence.host.docker_room < 0.1]",
            RestartContainer(target=HOST, container="web"),
        ),
        (
            DOWN,
            "do: RestartComposeService, service: web, when: [evidence.host.room < 0.1]",
            RestartComposeService(target=HOST, service="web"),
        ),
        (snapshot(pod("a")), "do: Investigate, reason: look", Investigate(target=TARGET, reason="look")),
    ],
)
def test_a_step_is_the_action_of_its_name_on_the_incidents_own_target(seen: Snapshot, line: str, action: Any) -> None:
    assert action_of(seen, line, {"unit": "nginx.service"}) == action


@pytest.mark.parametrize(
    ("seen", "line", "label"),
    [
        (snapshot(pod("a")), "do: RestartWorkload", {}),
        (msgspec.structs.replace(snapshot(pod("a", "crash")), workload=None), "do: RestartWorkload", {}),
        (snapshot(pod("a", "crash")), "do: CordonNode", {}),
        (snapshot(pod("a", "crash")), "do: RerunJob", {}),
        (snapshot(pod("a", "crash")), "do: RestartUnit, unit: nginx", {}),
        (DOWN, "do: RestartWorkload", {}),
        (node(ready=False), "do: RestartWorkload", {}),
        (snapshot(pod("a", "crash")), "do: ScaleWorkload, replicas: 1", {}),
        (snapshot(pod("a", "crash")), "do: ScaleWorkload, replicas: 0", {}),
        (held_by(snapshot(pod("a")), autoscaler(1, 3)), "do: ScaleWorkload, replicas: 3", {}),
        (ROLLOUT, "do: RollBackWorkload, to_revision: 7", {}),
        (ROLLOUT, "do: RollBackWorkload, to_revision: 2", {}),
        (LOST, 'do: EvictPod, pod: "{labels.pod}"', {"pod": "of-somebody-else"}),
        (LOST, 'do: EvictPod, pod: "{labels.pod}"', {}),
        (DOWN, 'do: RestartUnit, unit: "{labels.unit}"', {"unit": "ssh.service"}),
        (DOWN, 'do: RestartUnit, unit: "{labels.unit}", when: [evidence.host.room < 0.1]', {"unit": "nginx.service; reboot"}),
        (host(unit("reboot.target", "failed")), "do: RestartUnit, unit: reboot.target, when: [evidence.well == false]", {"unit": "x"}),
        (DOWN, "do: RestartComposeService, service: web, project: pay, when: [evidence.host.room < 0.1]", {}),
        (snapshot(pod("a", "oom")), "do: SetMemoryLimit, container: other, memory: 1Gi", {}),
        (snapshot(pod("a", "oom"), memory_limits={"web": 2**30}), "do: SetMemoryLimit, container: web, memory: 1Gi", {}),
        (held_by(snapshot(pod("a")), autoscaler(3, 3)), "do: SetAutoscalerBounds, autoscaler: web, minimum: 1, maximum: 9", {}),
        (held_by(snapshot(pod("a")), autoscaler(3, 3)), "do: SetAutoscalerBounds, autoscaler: api, minimum: 1, maximum: 3", {}),
        (held_by(snapshot(pod("a")), autoscaler(3, 3)), "do: SetAutoscalerBounds, autoscaler: api, minimum: 9, maximum: 5", {}),
    ],
)
def test_what_is_not_there_or_not_of_the_target_or_changes_nothing_is_not_proposed(
    seen: Snapshot, line: str, label: dict[str, str]
) -> None:
    assert action_of(seen, line, label) is None


@pytest.mark.parametrize("condition", ['labels.heal == "yes"', 'target.kind == "Deployment"'])
@pytest.mark.parametrize("of_step", [True, False])
def test_a_condition_on_a_label_or_the_target_lets_nothing_be_replaced_that_is_well(condition: str, *, of_step: bool) -> None:
    when = f"[{{do: RestartWorkload, when: ['{condition}']}}]" if of_step else "[{do: RestartWorkload}]"
    symptoms = f"{{alerts: [alertname=A], evidence: [{'' if of_step else repr(condition)}]}}"
    book, labels = playbook(steps=when, symptoms=symptoms), ({"alertname": "A", "heal": "yes"},)
    assert suggested(case(snapshot(pod("a")), labels=labels), book) is None
    assert suggested(case(snapshot(pod("a", "crash")), labels=labels), book) is not None


def test_what_an_owner_has_conditions_for_is_replaced_though_it_is_well() -> None:
    assert action_of(snapshot(pod("a")), "do: RestartWorkload, when: [evidence.well == true]") == RestartWorkload(target=TARGET)


def test_the_first_step_whose_conditions_hold_is_proposed_and_the_next_one_in_its_place() -> None:
    lines = (
        "do: RestartWorkload, when: [evidence.pods.unpullable > 0]",
        "do: RestartWorkload, because: It crashes.",
        "do: ScaleWorkload, replicas: 5, question: Is it enough",
    )
    found = suggested(case(snapshot(pod("a", "crash")), "A"), steps(*lines))
    assert found is not None
    assert found.action == RestartWorkload(target=TARGET)
    assert found.reasons[0] == "It crashes."
    assert found.otherwise is not None
    assert found.otherwise.action == ScaleWorkload(target=TARGET, replicas=5)
    assert found.otherwise.question == "Is it enough"
    assert (found.playbook, found.playbook_version, found.otherwise.playbook) == ("p", 1, "p")


def test_the_settings_bound_what_is_looked_up() -> None:
    line = 'do: ScaleWorkload, replicas: "{evidence.workload.more}"'
    assert action_of(snapshot(pod("a")), line, options=ProposeOptions(scale_limit=1)) is None
    oom = 'do: SetMemoryLimit, container: "{evidence.memory.container}", memory: "{evidence.memory.doubled}"'
    limited = pod("a", "oom")
    container = msgspec.structs.replace(limited.containers[0], memory_limit=100 * 2**20)
    seen = snapshot(msgspec.structs.replace(limited, containers=(container,)))
    assert action_of(seen, oom) == SetMemoryLimit(target=TARGET, container="web", memory="200Mi")
    assert action_of(seen, oom, options=ProposeOptions(memory_limit=150)) is None


@pytest.mark.parametrize(
    ("named", "severity", "risk"), [("high", "P2", Risk.HIGH), ("low", "P0", None), ("medium", "P2", None), ("high", "P1", None)]
)
def test_a_playbook_raises_the_risk_and_never_lowers_it(named: str, severity: str, risk: Risk | None) -> None:
    found = suggested(case(snapshot(pod("a", "crash")), "A", severity=Severity(severity)), playbook(risk=named))
    assert found is not None
    assert found.risk is risk


def test_an_inverse_is_that_of_the_first_step() -> None:
    book = playbook(steps="[{do: ScaleWorkload, replicas: 4}, {do: ScaleWorkload, replicas: 6}]", inverse="{do: RestartWorkload}")
    found = suggested(case(snapshot(pod("a")), "A"), book)
    assert found is not None
    assert found.inverse == RestartWorkload(target=TARGET)
    assert found.otherwise is not None
    assert found.otherwise.inverse is None


def test_every_fact_that_is_measured_has_a_name_and_its_type() -> None:
    oom = msgspec.structs.replace(pod("a", "oom"), containers=(msgspec.structs.replace(pod("a", "oom").containers[0], memory_limit=2**27),))
    scenes = (
        *(ROLLOUT, LOST, DOWN, node(ready=True), job("Failed"), held_by(snapshot(pod("a")), autoscaler(3, 3, more=True)), snapshot(oom)),
        host(
            unit("nginx.service", "failed"),
            unit("web", "exited"),
            host=msgspec.structs.replace(disks(0.5), memory_total=2, memory_available=1),
        ),
        host(host=msgspec.structs.replace(disks(0.5), load_5=2.0, processors=2)),
    )
    found: set[str] = set()
    for seen in scenes:
        facts = known(case(seen, "A", unit="nginx.service", container="web"), {"unit": "nginx.service", "container": "web"}, OPTIONS)
        for name, value in facts.items():
            if not name.startswith("labels."):
                assert type(value) is FACTS[name].type, name
                found.add(name)
    assert found == set(FACTS) - {"evidence.alert.fires"}


labels = st.dictionaries(
    st.sampled_from(["unit", "pod", "container", "namespace", "x"]), st.text(st.characters(codec="utf-8"), max_size=60), max_size=5
)


@given(labels=labels, do=st.sampled_from(sorted(STEPS)), seen=st.sampled_from([ROLLOUT, LOST, DOWN, node(ready=False), job("Failed")]))
def test_law_no_label_makes_another_action_or_another_target(labels: dict[str, str], do: str, seen: Snapshot) -> None:
    """Whatever the labels say, a step is the action that it names, on the target or on a pod that was seen to be its own."""
    texts = {
        "unit": "unit",
        "container": "container",
        "pod": "pod",
        "service": "x",
        "project": "x",
        "autoscaler": "x",
        "memory": "x",
        "reason": "x",
    }
    fields = [
        f'{name}: "{{labels.{texts[name]}}}"' if name in texts else f"{name}: 1"
        for name in STEPS[do].__struct_fields__
        if name not in ("when", "because", "question", "probes")
    ]
    action = action_of(seen, ", ".join([f"do: {do}", "when: [evidence.well == false]", *fields]), labels)
    if action is None:
        return
    assert type(action).__name__ == do
    names = {pod.name for pod in seen.pods}
    assert action.target == seen.target or (action.target.kind is Kind.POD and action.target.name in names)
    assert (action.target.cluster, action.target.namespace) == (seen.target.cluster, seen.target.namespace)
