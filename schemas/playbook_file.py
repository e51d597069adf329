"""A playbook from its YAML: every fault with file, line and column, and one sentence that says what to do.

Only plain YAML is read (`schemas.located_yaml`). What msgspec says of a value is told at the
place of that value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from schemas.facts import FACTS
from schemas.located_yaml import Fault, Located, Path, YamlWrong
from schemas.matchers import MatcherWrong, parse_selector
from schemas.playbook import Playbook
from schemas.playbook_steps import STEPS, Step, compare, own_fields, wrong_value
from schemas.promql import faults_of_query
from schemas.text import printable
from schemas.words import Mode, Probe, Risk, Severity

_PATH = re.compile(r"(?s)(.*?) - at `(?:key in )?\$(.*?)`\Z")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
_TYPES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list", "object": "a mapping"}
_EXPECTED = re.compile(r"Expected `([^`]+)`(?:, got `([^`]+)`)?")

_CHOICES: Mapping[str, type[StrEnum]] = {"mode": Mode, "risk": Risk, "severities": Severity, "probes": Probe}


class PlaybookWrong(ValueError):
    """The text is no playbook; `faults` says everything that could be found out, at least one thing."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


def read_playbook(text: str, file: str = "playbook.yaml") -> Playbook:
    """The playbook in `text`; `file` is only told. Raises PlaybookWrong."""
    try:
        reader = Located(file, text, what="playbook")
    except YamlWrong as error:
        raise PlaybookWrong([error.fault]) from None
    try:
        playbook = msgspec.convert(reader.value, Playbook)
    except msgspec.ValidationError as error:
        raise PlaybookWrong([reader.fault(*_explained(str(error)))]) from None
    faults = sorted(reader.fault(path, reason, offset) for path, reason, offset in faults_of(playbook))
    if faults:
        raise PlaybookWrong(faults)
    return playbook


def write_playbook(playbook: Playbook) -> str:
    """The playbook as YAML that `read_playbook` reads as the same."""
    import yaml

    return yaml.safe_dump(msgspec.json.decode(msgspec.json.encode(playbook)), sort_keys=False, allow_unicode=True, width=120)


def faults_of(playbook: Playbook) -> Iterator[tuple[Path, str, int]]:
    """What is wrong in the texts of a playbook whose form is right: where, why, and at which character of the text."""
    symptoms = playbook.symptoms
    for place, text in enumerate(symptoms.alerts):
        try:
            parse_selector(text)
        except MatcherWrong as error:
            yield ("symptoms", "alerts", place), str(error), error.offset
    yield from _conditions(symptoms.evidence, ("symptoms", "evidence"))
    yield from _conditions(playbook.verification.conditions, ("verification", "conditions"), after=True)
    for place, text in enumerate(playbook.verification.promql):
        for reason, offset in faults_of_query(text):
            yield ("verification", "promql", place), reason, offset
    for place, step in enumerate(playbook.steps):
        yield from _of_step(step, ("steps", place))
    if playbook.inverse is not None:
        yield from _of_step(playbook.inverse, ("inverse",))
        if playbook.inverse.when or playbook.inverse.question:
            yield ("inverse",), "an inverse has neither `when` nor `question`: it is what a person may choose afterwards", 0


def _conditions(texts: tuple[str, ...], path: Path, *, after: bool = False) -> Iterator[tuple[Path, str, int]]:
    """What is wrong with conditions; `after` an action less is known than before it."""
    for place, text in enumerate(texts):
        try:
            name = compare(text).name
        except ValueError as error:
            yield (*path, place), str(error), 0
            continue
        if after and name in FACTS and FACTS[name].before:
            yield (*path, place), f"{name} is known only before the action", 0


def _of_step(step: Step, path: Path) -> Iterator[tuple[Path, str, int]]:
    yield from _conditions(step.when, (*path, "when"))
    for name, value in own_fields(step).items():
        if reason := wrong_value(step, name, value):
            yield (*path, name), reason, 0


def _explained(message: str) -> tuple[Path, str]:
    """Where it is and what is wrong, from msgspec's sentence."""
    match = _PATH.fullmatch(message)
    reason, where = (match[1], match[2]) if match else (message, "")
    path: Path = tuple(name or int(number) for name, number in _STEP.findall(where))
    if unknown := _UNKNOWN.search(reason):
        return (*path, unknown[1]), f"there is no field {printable(unknown[1])[:60]!r} here"
    if reason.startswith("Invalid value") and path[-1:] == ("do",):
        return path, f"{reason.removeprefix('Invalid value ')} is no action: choose from {', '.join(sorted(STEPS))}"
    if (expected := _EXPECTED.match(reason)) and expected[2]:
        hint = ": put it in double quotes" if expected[1] == "str" and expected[2] in ("int", "float", "bool") else ""
        wanted, got = (" or ".join(_TYPES.get(one, one) for one in word.split(" | ")) for word in expected.groups())
        return path, f"expected {wanted}, and this is {got}{hint}"
    if reason.startswith("Invalid enum value") and (words := _words(path)):
        return path, f"{reason.removeprefix('Invalid enum value ')} is none of {', '.join(words)}"
    if path == ("name",) and "matching regex" in reason:
        return path, "a name has 1 to 100 lower case letters, digits and dashes, with a letter or digit at either end"
    if "matching regex '^\\\\{" in reason:
        return path, "expected a whole number, or a look-up of one such as {evidence.rollout.good}"
    return path, f"{reason[:1].lower()}{printable(reason[1:])[:300]}"


def _words(path: Path) -> tuple[str, ...]:
    """The words that may stand at this place."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    return tuple(_CHOICES[name]) if name in _CHOICES else ()
