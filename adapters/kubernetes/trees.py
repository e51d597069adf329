"""Objects as plain trees: the merge patch from one to another, and the difference as people read it. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from schemas.named_secrets import MASK, names_a_secret
from schemas.text import clean, clean_value

Tree = dict[str, Any]
_LINES, _WIDTH = 40, 160
_NOISE = ("metadata.managedFields", "metadata.resourceVersion", "metadata.generation", "metadata.annotations[mendstream.dev/", "status")
_GONE = object()


def merge_patch(before: Tree, after: Tree) -> Tree:
    """The RFC 7386 patch that makes `after` of `before`: changed fields, null for those that are gone, lists as a whole."""
    patch: Tree = {name: None for name in before if name not in after and before[name] is not None}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            inner = merge_patch(old, value)
            if inner:
                patch[name] = inner
        elif value != old:
            patch[name] = value
    return patch


def difference(before: Tree, after: Tree) -> str:
    """What changes from `before` to `after`: lines with `-` and `+`, 40 at most, cleaned; values of `env` are not shown."""
    old, new = dict(_leaves(before, "")), dict(_leaves(after, ""))
    lines: list[str] = []
    for path in sorted({*old, *new}):
        if path.startswith(_NOISE) or old.get(path, _GONE) == new.get(path, _GONE):
            continue
        lines.extend(_line(sign, path, tree[path]) for sign, tree in (("-", old), ("+", new)) if path in tree)
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"… and {len(lines) - _LINES + 1} more lines"]
    return "\n".join(lines)


def _line(sign: str, path: str, leaf: _Leaf) -> str:
    secret = ".env[" in path and path.endswith(".value")
    text = MASK if secret else clean_value(leaf.name, str(leaf.value), _WIDTH)
    return f"{sign} {clean(f'{path}: {text}', _WIDTH)}"


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A value, and the name that tells whether it is a secret: its key, or the option that stands before it in a list."""

    value: Any
    name: str = field(default="", compare=False)


def _leaves(value: Any, path: str, called: str = "") -> Iterator[tuple[str, _Leaf]]:
    """Every leaf with its path; items of a list go by their `name` where they have one, keys with a dot or slash in brackets."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            plain = "." not in name and "/" not in name
            step = name if not path else f".{name}" if plain else f"[{name}]"
            yield from _leaves(inner, path + step, name)
    elif isinstance(value, list) and value:
        for position, inner in enumerate(value):
            name = inner.get("name", position) if isinstance(inner, dict) else position
            yield from _leaves(inner, f"{path}[{name}]", _option_before(value, position) or called)
    elif value is not None and path:
        yield path, _Leaf(value, called)


def _option_before(items: list[Any], position: int) -> str:
    """The option of which this item is the value: `--password` of the item after it."""
    before = items[position - 1] if position else None
    return before.lstrip("-") if isinstance(before, str) and before.startswith("-") and names_a_secret(before) else ""
