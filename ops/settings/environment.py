"""Settings from the environment: `MEND_` + section + field, in capitals, such as `MEND_GATE_MODE`.

A name inside a table comes in the middle: `MEND_CLUSTERS_PROD_KUBECONFIG` is `kubeconfig` of `[clusters.prod]`. A name that
`mend.toml` spells with dashes or capitals is found all the same; otherwise it is taken in small letters with dashes for underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from ops.settings.shape import ANY_NAME, Leaf, Path, leaves, secret_in

PREFIX = "MEND_"
OTHER_USES = frozenset({"MEND_CONFIG", "MEND_PERSON_TOKEN", "MEND_TRACEBACK"})
"""Variables of ours that are no settings."""

# A Kubernetes Service called mend puts variables like these into every pod; tests have their own.
_NOT_OURS = re.compile(
    r"MEND_(?:(?:[A-Z0-9_]+_)?SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)|(?:[A-Z0-9_]+_)?PORT(?:_\d+_(?:TCP|UDP)(?:_[A-Z]+)?)|TEST_.*)"
)
_PORT_LINK = re.compile(r"(?:tcp|udp)://")


class Variable:
    """A setting's text from the environment, and the name of the variable it came from."""

    __slots__ = ("name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text


def variable_of(path: Path) -> str:
    """The variable that sets `path`."""
    return PREFIX + "_".join(re.sub(r"\W", "_", part) for part in path).upper()


def _with_files(kind: type[msgspec.Struct]) -> Iterator[tuple[Path, Leaf]]:
    for leaf in leaves(kind):
        yield leaf.path, leaf
        if secret_in(leaf.field.type):
            yield (*leaf.path[:-1], leaf.path[-1] + "_file"), leaf


def read_environment(
    kind: type[msgspec.Struct], environment: Mapping[str, str], raw: Mapping[str, Any]
) -> tuple[dict[Path, Variable], list[str]]:
    """Each setting found in the environment, by its path, and what is wrong with other variables that begin with `MEND_`."""
    fixed = {variable_of(path): path for path, _ in _with_files(kind) if ANY_NAME not in path}
    named = [path for path, _ in _with_files(kind) if ANY_NAME in path]
    found: dict[Path, Variable] = {}
    problems: list[str] = []
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or name in OTHER_USES:
            continue
        path = fixed.get(name) or _named(name, named, raw)
        if path is not None:
            found[path] = Variable(name, text)
        elif not (_NOT_OURS.fullmatch(name) or _PORT_LINK.match(text)):
            near = get_close_matches(name, [*fixed, *OTHER_USES], 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else "`mend config show` lists the names."
            problems.append(f"the environment variable {name} names no setting: {hint}")
    return found, problems


def _named(name: str, paths: list[Path], raw: Mapping[str, Any]) -> Path | None:
    """The path that a variable sets in a table of sections."""
    for path in sorted(paths, key=lambda path: len(path[-1]), reverse=True):
        place = path.index(ANY_NAME)
        start, end = variable_of(path[:place]) + "_", "_" + variable_of(path[place + 1 :]).removeprefix(PREFIX)
        if name.startswith(start) and name.endswith(end) and len(name) > len(start) + len(end):
            middle = name[len(start) : -len(end)]
            table: Any = raw
            for part in path[:place]:
                table = table.get(part, {}) if isinstance(table, Mapping) else {}
            spelled = (known for known in table if re.sub(r"\W", "_", known).upper() == middle) if isinstance(table, Mapping) else iter(())
            return (*path[:place], next(spelled, middle.lower().replace("_", "-")), *path[place + 1 :])
    return None
