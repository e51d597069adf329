"""The steps of a playbook: typed actions whose values are written down or looked up, and nothing else.

A step type is made from each action: the same name and fields, without the target, which is always the incident's own. A look-up
stands for a whole value, `{labels.unit}` or `{evidence.rollout.good}`; it cannot say what is done, nor to what else.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

import msgspec

from schemas.action import (
    Action,
    BaseAction,
    DeletePod,
    EvictPod,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
)
from schemas.facts import EVIDENCE, FACTS, LABELS, Facts, Value

Sentence = Annotated[str, msgspec.Meta(max_length=600)]
Condition = Annotated[str, msgspec.Meta(max_length=300)]

_LOOK_UP = re.compile(r"\{([^{}]*)\}")
_LABEL = re.compile(r"labels\.[a-zA-Z_][a-zA-Z0-9_]*")
_CONDITION = re.compile(r"(?P<name>[a-zA-Z_][a-zA-Z0-9_.]*)\s*(?P<sign>==|!=|>=|<=|>|<)\s*(?P<value>\S.*?)")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,9})?")
_TEXT = re.compile(r'"([^"\\]*)"')
_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True, tag_field="do", omit_defaults=True):
    """One action on the incident's target.

    when      conditions that have to hold, else the next step is tried
    because   why it helps, for the person who signs
    question  what people are asked besides, where the action alone cannot heal
    """

    when: Annotated[tuple[Condition, ...], msgspec.Meta(max_length=20)] = ()
    because: Sentence = ""
    question: Sentence = ""


_LOOKED_UP = Annotated[str, msgspec.Meta(pattern=r"^\{[a-z]+\.[A-Za-z0-9_.]+\}$", description="a look-up: {evidence.NAME}")]
_WORD = Annotated[str, msgspec.Meta(min_length=1, max_length=600)]
_BY_ITS_POD = ("pod", Annotated[str, msgspec.Meta(min_length=1, max_length=253, description="one of the target's pods, by name")])


def _fields_of(action: type[BaseAction]) -> list[Any]:
    """The fields of an action as a step has them: a pod is named, and its UID is looked up."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(action):
        if field.name == "target":
            continue
        if field.name == "uid":
            fields.append(_BY_ITS_POD)
            continue
        kind = {int: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | _LOOKED_UP, str: _WORD}.get(field.type, field.type)
        fields.append((field.name, kind) if field.required else (field.name, kind, field.default))
    return fields


def _step_of(action: type[BaseAction]) -> type[Step]:
    options: dict[str, Any] = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True, "omit_defaults": True}
    doc = (action.__doc__ or "").partition(" Raises ")[0]
    made = msgspec.defstruct(
        action.__name__, _fields_of(action), bases=(Step,), tag=True, tag_field="do", namespace={"__doc__": doc}, **options
    )
    assert issubclass(made, Step)
    return made


STEPS: Mapping[str, type[Step]] = {action.__name__: _step_of(action) for action in get_args(Action)}
"""The step types by the name of their action."""
ACTIONS: Mapping[str, type[BaseAction]] = {action.__name__: action for action in get_args(Action)}

if TYPE_CHECKING:
    AnyStep = Step
else:
    AnyStep = Union[tuple(STEPS.values())]  # noqa: UP007 - made of what there is


class Comparison(msgspec.Struct, frozen=True):
    """A condition: what is known by this name compared with a value that is written down."""

    name: str
    sign: str
    value: Value

    @property
    def on_evidence(self) -> bool:
        """Whether it is about what was seen, and not about what an alert says or what its target is called."""
        return self.name.startswith(EVIDENCE)

    def holds(self, facts: Facts) -> bool | None:
        """Whether it holds; None where nothing is known by that name."""
        known = facts.get(self.name)
        return None if known is None else _SIGNS[self.sign](known, self.value)


def compare(text: str) -> Comparison:
    """The comparison that a condition is. Raises ValueError, which says what is wrong with it."""
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'{text[:80]!r} is no condition: write NAME, one of == != > >= < <=, and a number, true, false or a "text"')
    name, sign = match["name"], match["sign"]
    value, kind = _written(match["value"]), type_of(name)
    numbers = kind in (int, float) and type(value) in (int, float)
    if not numbers and type(value) is not kind:
        raise ValueError(f"{name} is {_SPOKEN[kind]}, and {match['value'][:40]} is none")
    if not numbers and sign not in ("==", "!="):
        raise ValueError(f"{name} is {_SPOKEN[kind]}, which can only be compared with == or !=")
    return Comparison(name, sign, value)


def type_of(name: str) -> type:
    """The type of what is known by a name. Raises ValueError with the nearest names for one that is none."""
    if name.startswith(LABELS):
        if _LABEL.fullmatch(name) is None:
            raise ValueError(f"{name[:80]!r} names no label: letters, digits and underscores only")
        return str
    if name not in FACTS:
        from difflib import get_close_matches

        near = get_close_matches(name, [*FACTS, LABELS + "NAME"], n=3)
        hint = f"the nearest are {', '.join(near)}" if near else "docs/playbooks.md lists them"
        raise ValueError(f"nothing is known by the name {name[:80]!r}: {hint}")
    return FACTS[name].type


def looked_up(text: str) -> str:
    """The name that a value looks up; empty for a value that is written down. Raises ValueError for what is neither."""
    match = _LOOK_UP.fullmatch(text)
    if match is None:
        if "{" in text or "}" in text:
            raise ValueError(f"{text[:80]!r} is neither a name nor a look-up: a look-up is the whole value, such as {{labels.unit}}")
        return ""
    type_of(match[1])
    return match[1]


def wrong_value(step: Step, field: str, value: object) -> str:
    """What is wrong with a look-up in a field of a step, as a sentence; empty where nothing is."""
    if not isinstance(value, str) or field == "reason":
        return ""
    try:
        name = looked_up(value)
    except ValueError as error:
        return str(error)
    wanted = _wanted(type(step).__name__, field)
    if not name or wanted is type_of(name):
        return ""
    return f"{field} is {_SPOKEN[wanted]}, and {name} is {_SPOKEN[type_of(name)]}"


def _wanted(do: str, field: str) -> type:
    kinds = {one.name: one.type for one in msgspec.structs.fields(ACTIONS[do])}
    return int if kinds.get(field) is int else str


def own_fields(step: Step) -> dict[str, Any]:
    """The fields of a step that become those of its action."""
    return {name: getattr(step, name) for name in step.__struct_fields__ if name not in Step.__struct_fields__}


def step_for(action: Action) -> Step:
    """The step that does again what this action did. What was right only then, a revision, a pod, a limit, is looked up anew."""
    fields: dict[str, Any] = {one: getattr(action, one) for one in action.__struct_fields__ if one not in ("target", "uid")}
    match action:
        case RestartWorkload():
            fields["when"] = ("evidence.restart.may_help == true",)
        case RollBackWorkload():
            fields |= {"to_revision": "{evidence.rollout.good}", "when": ("evidence.rollout.began == true",)}
        case ScaleWorkload():
            fields["when"] = (f"evidence.workload.desired < {action.replicas}",)
        case SetAutoscalerBounds():
            names = {"autoscaler": "name", "minimum": "minimum", "maximum": "more"}
            fields |= {name: f"{{evidence.autoscaler.{fact}}}" for name, fact in names.items()}
        case SetMemoryLimit():
            fields |= {"memory": "{evidence.memory.doubled}", "when": ("evidence.pods.out_of_memory > 0",)}
        case DeletePod() | EvictPod():
            fields["pod"] = "{evidence.lost.pod}"
    return STEPS[type(action).__name__](**fields)


def _written(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    if quoted := _TEXT.fullmatch(text):
        return quoted[1]
    raise ValueError(f'{text[:40]} is no value: write a number, true, false or a "text"')


_SPOKEN: Mapping[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
