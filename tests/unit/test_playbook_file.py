"""Playbook files: what is wrong is said with file, line and column in one sentence, and what is right is read as it is meant."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from schemas.action import (
    Action,
    DeletePod,
    RestartUnit,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
)
from schemas.located_yaml import LIMIT
from schemas.playbook import Playbook
from schemas.playbook_file import PlaybookWrong, read_playbook, write_playbook
from schemas.playbook_steps import STEPS, compare, looked_up, step_for, type_of
from schemas.promql import faults_of_query, written_in
from schemas.target import Kind, Target
from schemas.words import Mode, Risk, Severity

HEAD = """\
name: a-b
title: T
owner: ana
symptoms:
  alerts: ['alertname="A"']
"""
STEP = "steps: [{do: RestartWorkload}]\n"
WHOLE = """\
name: api-restart
title: Restart what hangs
owner: team-shop
description: It hangs now and then.
symptoms:
  alerts:
    - 'alertname="KubePodNotReady", namespace=~"shop|pay"'
  services: [api]
  severities: [P1, P2]
  evidence: [evidence.pods.unready > 0]
steps:
  - do: RollBackWorkload
    to_revision: "{evidence.rollout.good}"
    when: [evidence.rollout.began == true]
  - do: ScaleWorkload
    replicas: 3
    because: More of them hang less.
verification:
  conditions: [evidence.workload.available >= 3]
  promql: ['up{job="{labels.job}"} == 1']
  hold_down: 600
inverse: {do: RestartWorkload}
risk: high
limits: {cooldown: 60, most_per_hour: 2}
mode: assist
"""


def faults(text: str) -> list[str]:
    with pytest.raises(PlaybookWrong) as wrong:
        read_playbook(text, "f.yaml")
    return str(wrong.value).splitlines()


def test_a_whole_playbook_is_read_and_written() -> None:
    playbook = read_playbook(WHOLE)
    assert (playbook.name, playbook.risk, playbook.mode, playbook.limits.cooldown) == ("api-restart", Risk.HIGH, Mode.ASSIST, 60)
    assert playbook.symptoms.severities == (Severity.P1, Severity.P2)
    assert [type(step).__name__ for step in playbook.steps] == ["RollBackWorkload", "ScaleWorkload"]
    assert playbook.verification.hold_down == 600
    assert read_playbook(write_playbook(playbook)) == playbook
    assert msgspec.json.decode(msgspec.json.encode(playbook), type=Playbook) == playbook


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + STEP + "mode: fast\n", "f.yaml:7:7: 'fast' is none of shadow, assist, auto"),
        (HEAD + STEP + "modes: x\n", "f.yaml:7:8: there is no field 'modes' here"),
        (HEAD + STEP + "name: c\n", "f.yaml:7:1: the field 'name' is there twice"),
        (HEAD, "f.yaml:1:1: object missing required field `steps`"),
        (HEAD + "steps: []\n", "f.yaml:6:8: expected `array` of length >= 1"),
        (HEAD + "steps: [{do: Reboot}]\n", "f.yaml:6:14: 'Reboot' is no action: choose from CordonNode,"),
        (HEAD + "steps: [{do: RestartWorkload, because: 12}]\n", "f.yaml:6:40: expected text, and this is a whole number: put it in"),
        (HEAD + "steps: [{do: ScaleWorkload}]\n", "f.yaml:6:9: object missing required field `replicas`"),
        (HEAD + "steps:\n  - do: ScaleWorkload\n    replicas: many\n", "f.yaml:8:15: expected a whole number, or a look-up"),
        (HEAD + "steps: [{do: RollBackWorkload, to_revision: '{labels.x}'}]\n", "f.yaml:6:45: to_revision is a whole number, and labels.x"),
        (HEAD + "steps: [{do: RestartUnit, unit: 'a{labels.x}'}]\n", "f.yaml:6:33: 'a{labels.x}' is neither a name nor a look-up"),
        (
            HEAD + "steps: [{do: RestartUnit, unit: '{target.nam}'}]\n",
            "nothing is known by the name 'target.nam': the nearest are target.name",
        ),
        (HEAD + "steps: [{do: RestartWorkload, when: [evidence.wel == true]}]\n", "f.yaml:6:38: nothing is known by the name"),
        (HEAD + "steps: [{do: RestartWorkload, when: [evidence.well > true]}]\n", "can only be compared with == or !="),
        (HEAD + "steps: [{do: RestartWorkload, when: [evidence.pods.ready == true]}]\n", "is a whole number, and true is none"),
        (HEAD + STEP + "inverse: {do: RestartWorkload, question: Why}\n", "f.yaml:7:10: an inverse has neither"),
        (HEAD + STEP + "verification: {promql: ['up == {target.name}']}\n", "f.yaml:7:32: the look-up {target.name} stands outside"),
        (
            HEAD + STEP + "verification: {conditions: [evidence.rollout.began == false]}\n",
            "f.yaml:7:29: evidence.rollout.began is known only",
        ),
        (HEAD.replace('"A"', '"A') + STEP, "f.yaml:5:23: a closing quote is expected"),
        (HEAD.replace("a-b", "A b") + STEP, "f.yaml:1:7: a name has 1 to 100 lower case letters"),
        (HEAD + "steps: [{do: !!python/name:os.system x}]\n", "f.yaml:6:14: the tag"),
        (HEAD + "steps: [\n", "f.yaml:7:1: this is no YAML"),
        ("", "f.yaml:1:1: the file is empty: a playbook is expected"),
        ("- 1\n", "f.yaml:1:1: expected a mapping, and this is a list"),
        ("[" * 500, "f.yaml:1:1: "),
        (
            "x: &a [1]\ny: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nz: [" + "[*b, *b, *b, *b, *b, *b, *b, *b, *b]," * 900 + "]",
            "too much in it",
        ),
        ("x" * (LIMIT + 1), "characters: 262144 are allowed"),
        ("1: 2\n", "f.yaml:1:1: the name of a field is expected"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_column(text: str, said: str) -> None:
    (line, *_) = faults(text)
    assert said in line
    assert line.startswith("f.yaml:")


def test_every_fault_of_the_texts_is_told_at_once() -> None:
    text = HEAD.replace('"A"', '"A", b=~"("') + "steps: [{do: RestartUnit, unit: '{x.y}', when: [nonsense]}]\n"
    assert [line.split(": ")[0] for line in faults(text)] == ["f.yaml:5:31", "f.yaml:6:33", "f.yaml:6:49"]


def test_there_is_a_step_for_every_action_and_none_names_a_target() -> None:
    assert set(STEPS) == {action.__name__ for action in get_args(Action)}
    for step in STEPS.values():
        assert not {"target", "uid"} & set(step.__struct_fields__)
        assert step.__struct_config__.forbid_unknown_fields


DONE = Target(cluster="prod", kind=Kind.DEPLOYMENT, name="api", namespace="shop")


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        (RestartWorkload(target=DONE), {"when": ("evidence.restart.may_help == true",)}),
        (
            RollBackWorkload(target=DONE, to_revision=7),
            {"to_revision": "{evidence.rollout.good}", "when": ("evidence.rollout.began == true",)},
        ),
        (ScaleWorkload(target=DONE, replicas=3), {"replicas": 3, "when": ("evidence.workload.desired < 3",)}),
        (
            SetMemoryLimit(target=DONE, container="web", memory="200Mi"),
            {"container": "web", "memory": "{evidence.memory.doubled}", "when": ("evidence.pods.out_of_memory > 0",)},
        ),
        (
            SetAutoscalerBounds(target=DONE, autoscaler="api", minimum=1, maximum=5),
            {
                "autoscaler": "{evidence.autoscaler.name}",
                "minimum": "{evidence.autoscaler.minimum}",
                "maximum": "{evidence.autoscaler.more}",
            },
        ),
        (DeletePod(target=DONE, uid="u"), {"pod": "{evidence.lost.pod}"}),
        (RestartUnit(target=DONE, unit="nginx.service"), {"unit": "nginx.service"}),
    ],
)
def test_what_was_done_becomes_a_step_that_looks_up_what_was_right_only_then(action: Action, fields: dict[str, object]) -> None:
    step = step_for(action)
    assert msgspec.to_builtins(step) == {"do": type(action).__name__, **fields}
    text = HEAD + "steps: " + msgspec.json.encode([step]).decode() + "\n"
    assert read_playbook(text).steps == (step,)


@pytest.mark.parametrize(
    ("text", "facts", "holds"),
    [
        ("evidence.pods.ready >= 2", {"evidence.pods.ready": 2}, True),
        ("evidence.pods.ready < 2", {"evidence.pods.ready": 2}, False),
        ("evidence.host.room < 0.1", {"evidence.host.room": 0.05}, True),
        ("evidence.well == false", {"evidence.well": False}, True),
        ('labels.reason != "Evicted"', {"labels.reason": "Evicted"}, False),
        ('labels.reason == "Evicted"', {}, None),
    ],
)
def test_a_condition_holds_or_does_not_or_nothing_is_known(text: str, facts: dict[str, str | int | float], holds: bool | None) -> None:
    assert compare(text).holds(facts) is holds


def test_a_look_up_is_a_whole_value() -> None:
    assert looked_up("{labels.unit}") == "labels.unit"
    assert looked_up("nginx.service") == ""
    assert type_of("evidence.pods.ready") is int
    for text in ("{labels.unit}x", "{{labels.unit}}", "{labels.a b}", "{labels.a.b}", "{__class__}", "{target.__class__}", "}{", "{}"):
        with pytest.raises(ValueError, match=r"look-up|no label|nothing is known"):
            looked_up(text)


def test_only_plain_values_are_written_into_promql() -> None:
    text = 'sum(rate(errors{job="{labels.job}", le="{x}"}[5m])) < 1'
    assert list(faults_of_query(text)) == []
    assert written_in(text, {"labels.job": "api"}) == 'sum(rate(errors{job="api", le="{x}"}[5m])) < 1'
    for value in ('a"} or up{a="', "a b", "", "x" * 129, "a\\"):
        with pytest.raises(ValueError, match="not written into PromQL"):
            written_in(text, {"labels.job": value})
    with pytest.raises(ValueError, match=r"labels\.job is not known"):
        written_in(text, {})
