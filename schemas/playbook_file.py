"""A playbook from its YAML: every fault with file, line and column, and one sentence that says what to do.

Only plain YAML is read: no tags, no key twice, and no more of it than a person writes. What msgspec says of a value is told at the
place of that value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.facts import FACTS
from schemas.matchers import MatcherWrong, parse_selector
from schemas.playbook import Playbook
from schemas.playbook_steps import STEPS, Step, compare, own_fields, wrong_value
from schemas.promql import faults_of_query
from schemas.text import printable
from schemas.words import Mode, Probe, Risk, Severity

if TYPE_CHECKING:
    import yaml

LIMIT = 256 * 1024  # characters of one file
_DEPTH = 20
_NODES = 20_000
_PATH = re.compile(r"(?s)(.*?) - at `(?:key in )?\$(.*?)`\Z")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
_TYPES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list", "object": "a mapping"}
_EXPECTED = re.compile(r"Expected `([^`]+)`(?:, got `([^`]+)`)?")

_CHOICES: Mapping[str, type[StrEnum]] = {"mode": Mode, "risk": Risk, "severities": Severity, "probes": Probe}

Path = tuple[str | int, ...]


class Fault(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong, at a place that counts from 1."""

    file: str
    line: int
    column: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.reason}"


class PlaybookWrong(ValueError):
    """The text is no playbook; `faults` says everything that could be found out, at least one thing."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


def read_playbook(text: str, file: str = "playbook.yaml") -> Playbook:
    """The playbook in `text`; `file` is only told. Raises PlaybookWrong."""
    reader = _Reader(file, text)
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


class _Reader:
    """The plain value of a YAML text, and the place of each part of it."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._places: dict[Path, tuple[int, int]] = {(): (1, 1)}
        self._keys: dict[Path, tuple[int, int]] = {}
        self._quoted: set[Path] = set()
        self._nodes = 0
        if len(text) > LIMIT:
            raise PlaybookWrong([Fault(file, 1, 1, f"the file has {len(text)} characters: {LIMIT} are allowed")])
        self.value = self._plain(self._composed(text), ())

    def fault(self, path: Path, reason: str, offset: int = 0) -> Fault:
        """A fault at the deepest known place on the way to `path`; `offset` counts characters of a text on one line."""
        if path in self._keys and path not in self._places:
            return Fault(self._file, *self._keys[path], reason)
        known = path
        while known not in self._places:
            known = known[:-1]
        line, column = self._places[known]
        inside = offset + (known in self._quoted) if known == path and offset else 0
        return Fault(self._file, line, column + inside, reason)

    def _composed(self, text: str) -> yaml.Node:
        import yaml

        try:
            documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise PlaybookWrong([Fault(self._file, line, column, f"this is no YAML: {printable(str(error.problem))[:200]}")]) from None
        except (yaml.YAMLError, RecursionError) as error:
            raise PlaybookWrong(
                [Fault(self._file, 1, 1, f"this is no YAML: {printable(str(error).partition(chr(10))[0])[:200]}")]
            ) from None
        if len(documents) != 1 or documents[0] is None:
            raise PlaybookWrong([Fault(self._file, 1, 1, f"one playbook is expected, and there are {len(documents)} documents")])
        node: yaml.Node = documents[0]
        return node

    def _plain(self, node: yaml.Node, path: Path) -> Any:
        import yaml

        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self._places[path] = line, column
        self._nodes += 1
        if self._nodes > _NODES or len(path) > _DEPTH:
            raise PlaybookWrong([Fault(self._file, line, column, "there is too much in it, or it is nested too deeply, for a playbook")])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(one, (*path, place)) for place, one in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.style in ("'", '"'):
            self._quoted.add(path)
        return self._scalar(node, line, column)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = key.value
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if not isinstance(name, str) or key.tag != "tag:yaml.org,2002:str":
                raise PlaybookWrong([Fault(self._file, line, column, "the name of a field is expected")])
            if name in found:
                raise PlaybookWrong([Fault(self._file, line, column, f"the field {printable(name)[:60]!r} is there twice")])
            self._keys[(*path, name)] = line, column
            found[name] = self._plain(value, (*path, name))
        return found

    def _scalar(self, node: yaml.Node, line: int, column: int) -> Any:
        import yaml

        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text: str = node.value
        if kind == "str":
            return text
        if kind in ("int", "float", "bool", "null"):
            loader = yaml.SafeLoader("")
            try:
                return getattr(loader, f"construct_yaml_{kind}")(node)
            except ValueError:
                return text
            finally:
                loader.dispose()
        if kind == "timestamp":
            return text
        raise PlaybookWrong([Fault(self._file, line, column, f"the tag {printable(node.tag)[:60]!r} has no place here")])
