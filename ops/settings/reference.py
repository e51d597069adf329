"""`mend.example.toml`, `docs/configuration.md` and `compose/rbac.yaml`, written from the code: a test holds the files to it.

`python -m ops.settings.reference` writes them anew.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from ops.settings.environment import variable_of
from ops.settings.model import Settings
from ops.settings.reading import Loaded
from ops.settings.shape import ANY_NAME, Leaf, default_of, fields_of, leaves, list_in, secret_in, section_in, table_in
from schemas.secret import Secret

_WIDTH = 118
_EXAMPLES: dict[str, str] = {
    "url": "https://example.com/hook",
    "prometheus.NAME.url": "http://prometheus:9090",
    "alertmanager.NAME.url": "http://alertmanager:9093",
    "address": "192.0.2.10",
    "user": "mend",
    "private_key_file": "/etc/mend/id_ed25519",
}
"""What stands in the example for a setting that has no default."""

_HEAD = """\
# Every setting of Mendstream with its default. Copy this file to mend.toml and keep the lines that you change.
# Mendstream reads the file that --config or MEND_CONFIG names, else ./mend.toml. A variable of the environment wins over the
# file: MEND_ + section + name, in capitals, such as MEND_GATE_MODE or MEND_CLUSTERS_PROD_KUBECONFIG. A secret may stand in a
# file of its own: write NAME_file = "path" in place of NAME. `mend config show` prints what is in force and where it comes from.
"""

_DOCUMENT = """\
# Configuration

Mendstream reads one TOML file (the one that `--config` or `MEND_CONFIG` names, else `./mend.toml`) and then the environment,
which wins. Without either it runs with the defaults below: embedded stores, the API on loopback, mode `assist`.

- A variable is `MEND_` + section + name, in capitals: `MEND_GATE_MODE`. In a table of names the name comes in the middle, small
  letters with dashes unless `mend.toml` spells it otherwise: `MEND_CLUSTERS_PROD_KUBECONFIG` is `kubeconfig` of `[clusters.prod]`.
  Lists are written with commas or as JSON, tables as JSON.
- A secret may stand in a file of its own: `NAME_file = "path"`, or the variable with `_FILE`. Secrets are never printed.
- An unknown name is an error that names the nearest right one and its line; so are a number that means nothing (a batch of 0, `inf`)
  and half a credential. Nothing is ignored.
- `mend config show` prints what is in force and where it comes from; `mend doctor` says what is wrong and how to mend it.
- Further variables: `MEND_CONFIG` (the settings file), `MEND_PERSON_TOKEN` (the token for `--as NAME`), `MEND_TRACEBACK=1`
  (show where an error comes from).

`mend.example.toml` has the same in the form of a file.
"""

_PERMISSIONS = """\
## What it may touch in a cluster

`compose/rbac.yaml` grants all of it, by three ClusterRoles: bind `mendstream-reader` and `mendstream-healer` to the identity of the
kubeconfig in each namespace to heal, and `mendstream-nodes` in the whole cluster, or not at all. What you leave out is never done: the
action is refused before it runs, with the missing permission named. `mend doctor` asks the cluster for each of them.

| Permission | For |
|---|---|
{writes}
"""


class Table(msgspec.Struct, frozen=True):
    """One table of the file: its heading without brackets, what it is for, and its settings. `many` says that it is a list of tables."""

    name: str
    text: str
    leaves: tuple[Leaf, ...]
    many: bool = False
    named: bool = False


def tables(kind: type[msgspec.Struct] = Settings, path: tuple[str, ...] = (), default: Any = None) -> Iterator[Table]:
    """Every table of the file in its order, the root first. A list of tables has a table of its own."""
    here = Settings() if not path else default
    every = leaves(kind, path, here if here is not None else msgspec.NODEFAULT)
    direct = {leaf.path[-1]: leaf for leaf in every if leaf.path[:-1] == path}
    own = tuple(direct[name] for name in fields_of(kind) if name in direct)
    yield Table(".".join(path), summary_of(kind), own, named=ANY_NAME in path)
    for name, field in fields_of(kind).items():
        value = getattr(here, field.name, default_of(field))
        if inner := section_in(field.type):
            yield from tables(inner, (*path, name), value if isinstance(value, inner) else None)
        elif inner := table_in(field.type):
            yield from tables(inner, (*path, name, ANY_NAME))
        elif inner := list_in(field.type):
            yield Table(".".join((*path, name)), summary_of(inner), tuple(leaves(inner, (*path, name))), many=True)


def summary_of(kind: type[msgspec.Struct]) -> str:
    """The first paragraph of a struct's docstring."""
    return " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())


def written(value: Any) -> str:
    """A default as TOML."""
    match value:
        case Secret():
            return '""'
        case bool():
            return str(value).lower()
        case Enum():
            return f'"{value.value}"'
        case int() | float():
            return repr(value)
        case str():
            return msgspec.json.encode(value).decode()
        case dict():
            return "{" + ", ".join(f"{name} = {written(item)}" for name, item in value.items()) + "}"
        case list() | tuple() | set() | frozenset():
            return "[" + ", ".join(written(item) for item in value) + "]"
        case _:
            return ""


def example() -> str:
    """The text of `mend.example.toml`."""
    parts = [_HEAD]
    for table in tables():
        if not table.leaves:
            continue
        optional = table.many or table.named
        lines = [f"# {line}" for line in textwrap.wrap(table.text, _WIDTH)] if table.name else []
        heading = f"[[{table.name}]]" if table.many else f"[{table.name}]"
        if table.name:
            lines.append(("# " if optional else "") + heading)
        for leaf in table.leaves:
            lines += [f"# {line}" for line in textwrap.wrap(leaf.text, _WIDTH)]
            lines.append(("# " if optional or _is_unset(leaf) else "") + f"{leaf.path[-1]} = {_shown_default(leaf)}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _is_unset(leaf: Leaf) -> bool:
    """Whether the setting has no value that TOML could write, or is a list of tables, which has a heading of its own."""
    return leaf.default in (msgspec.NODEFAULT, None) or list_in(leaf.field.type) is not None


def _shown_default(leaf: Leaf) -> str:
    if leaf.default in (msgspec.NODEFAULT, None):
        return written(_EXAMPLES.get(".".join(leaf.path), _EXAMPLES.get(leaf.path[-1], "")))
    return written(leaf.default)


def document() -> str:
    """The text of `docs/configuration.md`."""
    parts = [_DOCUMENT]
    for table in tables():
        if not table.leaves:
            continue
        heading = f"[[{table.name}]]" if table.many else f"[{table.name}]"
        parts.append(f"## `{heading}`\n\n{table.text}\n" if table.name else "## At the top of the file\n")
        rows = ["| Setting | Default | What it is |", "|---|---|---|"]
        for leaf in table.leaves:
            default = "required" if leaf.default is msgspec.NODEFAULT else "none" if leaf.default is None else f"`{written(leaf.default)}`"
            text = leaf.text.replace("|", "\\|") + (" (secret)" if secret_in(leaf.field.type) else "")
            rows.append(f"| `{leaf.path[-1]}` | {default} | {text} |")
        parts.append("\n".join(rows) + "\n")
    parts.append(_permissions())
    return "\n".join(parts)


def _permissions() -> str:
    from ops.examination.permissions import WRITES

    rows = ["| get, list, the logs of pods, and what they use (metrics.k8s.io) | evidence, checks, verification, investigations |"]
    rows += [f"| {permission} | {purpose} |" for permission, purpose in WRITES]
    return _PERMISSIONS.format(writes="\n".join(rows))


def in_force(loaded: Loaded) -> Iterator[tuple[str, Any, str, str]]:
    """Each setting's name, value, where it comes from (`default`, `file` or `environment`) and the variable that sets it."""
    for path, value in _values(Settings, loaded.settings, ()):
        variable = variable_of(path)
        origin = "environment" if {variable, f"{variable}_FILE"} & set(loaded.variables) else "default"
        if origin == "default" and path in loaded.given:
            origin = "file"
        yield ".".join(path), value, origin, variable


def _values(kind: type[msgspec.Struct], struct: msgspec.Struct, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, field in fields_of(kind).items():
        value = getattr(struct, field.name)
        if inner := section_in(field.type):
            yield from _values(inner, value, (*path, name))
        elif inner := table_in(field.type):
            for key, item in value.items():
                yield from _values(inner, item, (*path, name, key))
        else:
            yield (*path, name), value


def write(root: Path) -> None:
    """Writes the files into a checkout."""
    from ops.examination.permissions import manifest

    (root / "mend.example.toml").write_text(example(), "utf-8")
    (root / "docs" / "configuration.md").write_text(document(), "utf-8")
    (root / "compose" / "rbac.yaml").write_text(manifest(), "utf-8")


if __name__ == "__main__":
    write(Path(__file__).parents[2])
