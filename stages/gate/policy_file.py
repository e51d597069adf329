"""A policy from its file: plain YAML, and every fault in it with file and line, as a sentence that says what to do."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any

import msgspec

from schemas.action import Action
from schemas.located_yaml import Located, Path, YamlWrong
from schemas.target import Kind
from schemas.text import clean
from schemas.words import Risk
from stages.gate.conditions import Condition
from stages.gate.rules import MEASURED_TIERS, MOST_SIGNATURES, UNMEASURED, Effect, Match, Policy, Rule, RuleCooldown, several
from stages.gate.windows import Window

DEFAULT = "default_policy.yaml"
SAID = ("action", "risk", "blast", "checks", "severity", "tier", "target", "namespace", "trust", "mode")
"""The words that may stand in braces in a reason."""
LAWS = (
    *(
        "unproven",
        "blocked",
        "gitops",
        "preflight",
        "one_at_a_time",
        "incident_over",
        "incident_unknown",
        "policy_broken",
        "no_rule",
        "objection",
    ),
    *("assist", "shadow", "stopped", "freeze", "cooldown", "target_cooldown", "storm", "silenced", "playbook"),
)
"""Names of what holds whatever the policy says: no rule may have them."""

_VERBS = tuple(kind.verb for kind in Action.__args__)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,59}")
_RULES = 500
_PATH = re.compile(r"(?s)(.*?) - at `(?:key in )?\$(.*?)`\Z")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|\[\.\.\.\]")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
_PLAIN = re.compile(r"`(\w+)`")
_WORDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list", "object": "a mapping"}
_FIELDS: dict[str, type[msgspec.Struct]] = {"match": Match, "effect": Effect, "time": Window, "cooldown": RuleCooldown}


class PolicyWrong(ValueError):
    """The text is no policy; `faults` are sentences, each beginning with FILE:LINE."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class _Document(Located):
    """The text of a policy, whose faults are told by the line."""

    def told(self, path: Path, reason: str) -> str:
        return f"{self.fault(path, reason).file}:{self.line_of(path)}: {reason}"


@cache
def default_policy() -> Policy:
    """The rules that come with Mendstream: the file beside this module, and nothing else."""
    return read_policy((files("stages.gate") / DEFAULT).read_text("utf-8"), DEFAULT)


def read_policy(text: str, file: str) -> Policy:
    """The policy in `text`; `file` is only told. Raises PolicyWrong with everything that could be found out."""
    try:
        document = _Document(file, text, what="policy")
    except YamlWrong as error:
        raise PolicyWrong([f"{file}:{error.fault.line}: {error.fault.reason}"]) from None
    raw = document.value
    if not isinstance(raw, dict) or set(raw) != {"version", "rules"} or not isinstance(raw["rules"], list):
        raise PolicyWrong([document.told((), "a policy has `version: 1` and a list of `rules`, and nothing else")])
    if raw["version"] != 1 or isinstance(raw["version"], bool):
        raise PolicyWrong([document.told(("version",), "the version of the form of a policy is 1")])
    if len(raw["rules"]) > _RULES:
        raise PolicyWrong([document.told(("rules",), f"there are {len(raw['rules'])} rules: {_RULES} are allowed")])
    rules: list[Rule] = []
    faults: list[str] = []
    for place, item in enumerate(raw["rules"]):
        rule = _rule(document, ("rules", place), item, faults.append)
        if rule is not None:
            faults += [document.told(("rules", place, *path), reason) for path, reason in _faults(rule, {one.name for one in rules})]
            rules.append(rule)
    if faults:
        raise PolicyWrong(faults)
    return Policy(file=file, version=hashlib.sha256(text.encode()).hexdigest()[:12], rules=tuple(rules))


def _rule(document: _Document, path: Path, item: Any, wrong: Callable[[str], None]) -> Rule | None:
    """One rule, or None with its fault told."""
    if isinstance(item, dict) and "line" in item:
        wrong(document.told((*path, "line"), "there is no field 'line' here"))
        return None
    try:
        rule = msgspec.convert(item, Rule)
    except msgspec.ValidationError as error:
        inner, reason = _explained(str(error))
        wrong(document.told((*path, *inner), reason))
        return None
    return msgspec.structs.replace(rule, line=document.line_of(path))


def _faults(rule: Rule, before: set[str]) -> Iterator[tuple[Path, str]]:
    """What is wrong in a rule whose form is right: where, and why."""
    if not _NAME.fullmatch(rule.name):
        yield ("name",), "a name has up to 60 lower case letters, digits, dashes and underscores, and begins with a letter"
    if rule.name in LAWS:
        yield ("name",), f"{rule.name!r} is the name of something that holds whatever a policy says: choose another"
    if rule.name in before:
        yield ("name",), f"there is a rule {rule.name!r} before: give each its own name"
    if rule.effect == Effect():
        yield ("effect",), "the rule demands nothing: give it signatures, roles, a mode, a cooldown, or refuse"
    if rule.last and rule.on_alerts:
        yield ("last",), "who writes an alert chooses its labels: a rule that is about them can only demand more, and cannot be the last"
    yield from _signature_faults(rule.effect.signatures)
    yield from _word_faults(rule.match)
    for name, text in (("reason", rule.reason), ("effect", rule.effect.refuse)):
        if reason := _wrong_words(text):
            yield (name,), reason


def _word_faults(match: Match) -> Iterator[tuple[Path, str]]:
    """Conditions that cannot be meant, and kinds and actions that there are none of, so that the rule would never match."""
    if match.when:
        try:
            Condition(match.when)
        except ValueError as error:
            yield ("match", "when"), str(error)
    for field, words in (("action", _VERBS), ("kind", tuple(Kind))):
        for pattern in several(getattr(match, field)):
            if fnmatch.filter(words, pattern):
                continue
            near = get_close_matches(pattern, words, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(words)}"
            yield ("match", field), f"there is no {field} {clean(pattern, 60)!r}; {hint}"


def _signature_faults(signatures: int | dict[str, int] | None) -> Iterator[tuple[Path, str]]:
    path: Path = ("effect", "signatures")
    if isinstance(signatures, int):
        if not 0 <= signatures <= MOST_SIGNATURES:
            yield path, f"expected 0 to {MOST_SIGNATURES} signatures"
        return
    for word, number in (signatures or {}).items():
        if not 0 <= number <= MOST_SIGNATURES:
            yield (*path, word), f"expected 0 to {MOST_SIGNATURES} signatures"
    risks, tiers = {risk.value for risk in Risk}, {*MEASURED_TIERS, UNMEASURED}
    words = set(signatures or {})
    if signatures is not None and not (words and (words <= risks or words <= tiers)):
        yield (
            path,
            f"expected a number, one for each risk ({', '.join(Risk)}), or one for each tier ({', '.join((*MEASURED_TIERS, UNMEASURED))})",
        )


def _wrong_words(text: str) -> str:
    """Why a reason cannot be said; empty when it can."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        return f"its braces do not fit together: {error}"
    names = [(name, form, conversion) for _, name, form, conversion in parts if name is not None]
    if any(name not in SAID or form or conversion for name, form, conversion in names):
        return f"in braces there may stand {', '.join(SAID)}"
    return ""


def _explained(message: str) -> tuple[Path, str]:
    """Where it is and what is wrong, from msgspec's sentence."""
    match = _PATH.fullmatch(message)
    reason, where = (match[1], match[2]) if match else (message, "")
    path: Path = tuple(name or int(number) for name, number in _STEP.findall(where) if name or number)
    if unknown := _UNKNOWN.search(reason):
        kind = _FIELDS.get(str(path[-1]) if path else "", Rule)
        names = [name for name in kind.__struct_fields__ if name != "line"]
        near = get_close_matches(unknown[1], names, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        return (*path, unknown[1]), f"there is no field {clean(unknown[1], 60)!r} here; {hint}"
    reason = _PLAIN.sub(lambda found: _WORDS.get(found[1], found[1]), reason)
    return path, clean(reason[:1].lower() + reason[1:], 300)
