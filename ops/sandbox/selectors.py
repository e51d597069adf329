"""Label and field selectors, as they stand in a query."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ops.sandbox.faults import ApiFault

Tree = dict[str, Any]
_RULE = re.compile(r"\s*(?P<key>[\w./-]+)\s+(?P<word>in|notin)\s*\((?P<values>[^)]*)\)\s*(?:,|$)|\s*(?P<plain>[^,]+?)\s*(?:,|$)")


def by_labels(text: str) -> Callable[[Tree], bool]:
    """Whether an object has the labels; raises ApiFault for what is no selector."""
    rules = [_rule(match) for match in _RULE.finditer(text) if match[0].strip(" ,")]
    return lambda item: all(rule(item["metadata"].get("labels") or {}) for rule in rules)


def _rule(match: re.Match[str]) -> Callable[[dict[str, str]], bool]:
    if match["word"]:
        values = {value.strip() for value in match["values"].split(",")}
        key = match["key"]
        return (lambda labels: labels.get(key) in values) if match["word"] == "in" else (lambda labels: labels.get(key) not in values)
    plain = match["plain"]
    for sign, equal in (("!=", False), ("==", True), ("=", True)):
        name, found, value = plain.partition(sign)
        if found:
            return lambda labels: (labels.get(name.strip()) == value.strip()) is equal
    return (lambda labels: plain[1:] not in labels) if plain.startswith("!") else (lambda labels: plain in labels)


def by_fields(text: str) -> Callable[[Tree], bool]:
    """Whether an object's fields, named by dotted paths, have the values; raises ApiFault for what is no selector."""
    rules: list[tuple[list[str], str, bool]] = []
    for rule in filter(None, text.split(",")):
        match = re.fullmatch(r"([\w.]+)(!=|==?)(.*)", rule.strip())
        if match is None:
            raise ApiFault("BadRequest", f"{rule!r} is not a field selector")
        rules.append((match[1].split("."), match[3], match[2] != "!="))
    return lambda item: all((_field(item, path) == value) is equal for path, value, equal in rules)


def _field(item: Any, path: list[str]) -> str:
    for name in path:
        item = item.get(name) if isinstance(item, dict) else None
    return "" if item is None else str(item)
