"""Patches as an API server applies them: JSON merge patch (RFC 7386) and JSON patch (RFC 6902), each to a copy."""

from __future__ import annotations

import copy
from typing import Any

from ops.sandbox.faults import ApiFault

Tree = dict[str, Any]


def patched(content: str, before: Tree, patch: Any) -> Tree:
    """`before` with the patch of this content type; raises ApiFault."""
    match content.partition(";")[0].strip():
        case "application/merge-patch+json" if isinstance(patch, dict):
            return merged(before, patch)
        case "application/json-patch+json" if isinstance(patch, list):
            return _json_patched(before, patch)
        case "application/merge-patch+json" | "application/json-patch+json":
            raise ApiFault("BadRequest", "the patch has not the form of its content type")
        case other:
            raise ApiFault(
                "UnsupportedMediaType", f"the sandbox does not know patches of type {other!r}: use a merge patch or a JSON patch"
            )


def merged(before: Tree, patch: Tree) -> Tree:
    """RFC 7386: null removes, objects go in depth, everything else replaces."""
    after = dict(before)
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        elif isinstance(value, dict):
            old = after.get(name)
            after[name] = merged(old if isinstance(old, dict) else {}, value)
        else:
            after[name] = copy.deepcopy(value)
    return after


def _json_patched(before: Tree, steps: list[Any]) -> Tree:
    """RFC 6902: add, remove, replace and test. A failed test answers 422, as a real API server does."""
    after = copy.deepcopy(before)
    try:
        for step in steps:
            _step(after, str(step["op"]), _pointer(str(step["path"])), step.get("value"))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ApiFault("Invalid", "the server rejected our request due to an error in our request") from error
    return after


def _pointer(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _step(tree: Any, operation: str, path: list[str], value: Any) -> None:
    *way, last = path
    for part in way:
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    place: Any = (len(tree) if last == "-" else int(last)) if isinstance(tree, list) else last
    match operation:
        case "add" if isinstance(tree, list):
            tree.insert(place, value)
        case "add":
            tree[place] = value
        case "replace":
            tree[place]
            tree[place] = value
        case "remove":
            del tree[place]
        case "test":
            if tree[place] != value:
                raise ValueError(operation)
        case _:
            raise ValueError(operation)
