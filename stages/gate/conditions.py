"""Conditions of a policy in CEL: checked when they are read, without side effects, and bounded whatever an alert says.

A condition is short, knows only the names below, goes through a list once at most, and its regular expressions take linear time. The
library is loaded where a policy has a condition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from schemas.text import clean

if TYPE_CHECKING:
    from cel import Program

LIMIT = 1000  # characters
NAMES = (
    *("severity", "cluster", "namespace", "name", "kind", "action", "risk", "tier", "score", "trust", "mode", "source", "playbook"),
    *("confidence", "labels", "alerts", "now", "proven", "related", "checked"),
)
"""The names that a condition may use."""
_FUNCTIONS = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "int", "double", "string", "min", "max", "has", "timestamp", "duration"}
    | {"getHours", "getMinutes", "getDayOfWeek", "getDayOfMonth", "getMonth", "getFullYear", "all", "exists", "exists_one"}
)
_OPERATOR = re.compile(r"[@_!-].*")
_MACRO = re.compile(r"\.\s*(?:all|exists_one|exists|map|filter)\b")
_BOUND = re.compile(_MACRO.pattern + r"\s*\(\s*(\w+)\s*,")


class ConditionFailed(Exception):
    """A condition has no answer for this action, such as for a label that is not there: the action is held."""


class Condition:
    """One condition. Raises ValueError for one that cannot be meant, with what is wrong in it."""

    def __init__(self, text: str) -> None:
        from cel import compile  # noqa: A004 - its own word

        if len(text) > LIMIT:
            raise ValueError(f"the condition has {len(text)} characters: {LIMIT} are allowed")
        if len(_MACRO.findall(text)) > 1:
            raise ValueError("the condition goes through lists more than once: once is allowed")
        try:
            self._program: Program = compile(text)
        except ValueError as error:
            raise ValueError(f"the condition is no CEL: {_first_line(str(error))}") from None
        self.text = text
        self._refuse_unknown(bound=set(_BOUND.findall(text)))

    def _refuse_unknown(self, bound: set[str]) -> None:
        wrong = [name for name in self._program.variables() if name not in NAMES and name not in bound]
        if wrong:
            raise ValueError(f"the condition speaks of {clean(wrong[0], 60)!r}: it may speak of {', '.join(NAMES)}")
        unknown = [name for name in self._program.functions() if name not in _FUNCTIONS and not _OPERATOR.fullmatch(name)]
        if unknown:
            raise ValueError(f"there is no function {clean(unknown[0], 60)!r} for conditions: there are {', '.join(sorted(_FUNCTIONS))}")

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds for these values of all NAMES. Raises ConditionFailed."""
        try:
            answer = self._program.execute(dict(values))
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ConditionFailed(f"{type(error).__name__}: {_first_line(str(error))}") from None
        if not isinstance(answer, bool):
            raise ConditionFailed(f"it answers {clean(repr(answer), 60)}, which is neither true nor false")
        return answer


def _first_line(text: str) -> str:
    """What went wrong, without the picture below it."""
    lines = [line for line in text.splitlines() if "ERROR" in line] or text.splitlines()[:1]
    return clean(lines[0].partition("ERROR: <input>:")[2] or lines[0] if lines else "no reason is given", 200)
