"""The shape of the settings, by reflection over the structs: what is a section, a table of sections, a leaf or a secret."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import FieldInfo

from schemas.secret import Secret

Path = tuple[str, ...]
ANY_NAME = "NAME"


def fields_of(kind: type[msgspec.Struct]) -> dict[str, FieldInfo]:
    """The fields of a struct by the name they have in TOML."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def parts_of(kind: Any) -> tuple[Any, ...]:
    """The parts of a union without None, the type inside `Annotated`, or the type alone."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return parts_of(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(member for part in typing.get_args(kind) if part is not type(None) for member in parts_of(part))
    return (kind,)


def section_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that a field holds, or None."""
    members = parts_of(kind)
    first = members[0]
    return first if len(members) == 1 and isinstance(first, type) and issubclass(first, msgspec.Struct) else None


def table_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct of the values of a field that is a table by name, such as `[clusters.NAME]`, or None."""
    members = parts_of(kind)
    if len(members) == 1 and typing.get_origin(members[0]) is dict:
        return section_in(typing.get_args(members[0])[1])
    return None


def list_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct of the values of a field that is a list of tables, such as `[[gate.freeze]]`, or None."""
    members = parts_of(kind)
    if len(members) == 1 and typing.get_origin(members[0]) in (tuple, list):
        return section_in(typing.get_args(members[0])[0])
    return None


def secret_in(kind: Any) -> type[Secret] | None:
    """The secret type that a field holds, or None."""
    return next((member for member in parts_of(kind) if isinstance(member, type) and issubclass(member, Secret)), None)


def described(kind: Any) -> str:
    """What a field, or each item of it, must look like, in the words of its `Meta`; empty where it says nothing."""
    if typing.get_origin(kind) is typing.Annotated:
        said = next((one.description for one in typing.get_args(kind)[1:] if isinstance(one, msgspec.Meta) and one.description), "")
        return said or described(typing.get_args(kind)[0])
    return next((said for part in typing.get_args(kind) if (said := described(part))), "")


class Leaf(typing.NamedTuple):
    """One setting: `path` has `NAME` where any name stands."""

    path: Path
    field: FieldInfo
    owner: type[msgspec.Struct]
    default: Any

    @property
    def text(self) -> str:
        """Its docstring."""
        return docstrings(self.owner).get(self.field.name, "")


def default_of(field: FieldInfo) -> Any:
    """What a field is when nothing is given, or NODEFAULT."""
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def leaves(kind: type[msgspec.Struct], path: Path = (), default: Any = msgspec.NODEFAULT) -> Iterator[Leaf]:
    """Every setting below a struct, in the order of the fields; `default` is the struct that stands where none is given."""
    for name, field in fields_of(kind).items():
        here = (*path, name)
        value = getattr(default, field.name, default_of(field))
        if inner := section_in(field.type):
            yield from leaves(inner, here, value)
        elif inner := table_in(field.type):
            yield from leaves(inner, (*here, ANY_NAME))
        else:
            yield Leaf(here, field, kind, value)


def secrets_in(value: Any) -> Iterator[Secret]:
    """Every secret anywhere inside a value of structs, tables and lists."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, list | tuple | frozenset | set):
        for item in value:
            yield from secrets_in(item)


@cache
def docstrings(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The text of each field: the string under it, or its line in the class's docstring (`name   text`)."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if issubclass(owner, msgspec.Struct) and owner is not msgspec.Struct:
            found.update(_docstrings_of(owner))
    return found


def _docstrings_of(kind: type) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    names = [item.target.id for item in body.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    found = {name: text for name in names if (text := _line_of(name, ast.get_docstring(body) or ""))}
    for item, after in zip(body.body, body.body[1:], strict=False):
        if not (isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            found[item.target.id] = " ".join(after.value.value.split())
    return found


def _line_of(name: str, text: str) -> str:
    """What a class's docstring says of a field in a line that begins with its name; further lines of it are indented."""
    match = re.search(rf"^\s*`?{re.escape(name)}`?(?::\s*|\s{{2,}})(\S.*(?:\n[ \t]{{2,}}\S.*)*)", text, re.MULTILINE)
    return " ".join(match[1].split()) if match else ""
