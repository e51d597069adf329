"""Reading the settings: one TOML file, then the environment, then every problem at once in words that say what to do."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import FieldInfo

from ops.errors import SettingsWrong
from ops.settings.environment import Variable, read_environment, variable_of
from ops.settings.model import Settings
from ops.settings.shape import default_of, described, fields_of, leaves, list_in, parts_of, secret_in, section_in, table_in
from schemas.secret import secret_from

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date and time",
    "null": "nothing",
}
_ENDLESS = "expected a number that is neither infinite nor nan"


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Settings and where they came from: `file` is None when there is no `mend.toml`; `given` are the paths that it sets."""

    settings: Settings
    file: Path | None
    variables: tuple[str, ...]
    given: frozenset[tuple[str, ...]] = frozenset()


def find_file(given: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The settings file: the one given, else MEND_CONFIG, else ./mend.toml where it exists. Raises SettingsWrong."""
    named = given or (Path(environment["MEND_CONFIG"]) if environment.get("MEND_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            said = "--config" if given else "MEND_CONFIG"
            raise SettingsWrong([f"there is no file {named}, which {said} names"])
        return named
    here = Path("mend.toml")
    return here if here.is_file() else None


def load(config: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """The settings of this machine; the environment wins over the file.

    Raises SettingsWrong with everything that is wrong, each with its place.
    """
    environment = os.environ if environment is None else environment
    file = find_file(config, environment)
    text = _text_of(file) if file else ""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsWrong([f"{file} is not TOML: {error}"]) from None
    given = frozenset(_paths(raw, ()))
    reader = _Reader(file, text)
    found, reader.problems = read_environment(Settings, environment, raw)
    for path, variable in found.items():
        reader.put(raw, path, variable)
    settings = reader.section(Settings, raw, ())
    if reader.problems or settings is None:
        raise SettingsWrong(reader.problems)
    return Loaded(settings=settings, file=file, variables=tuple(sorted(item.name for item in found.values())), given=given)


def _paths(raw: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every path that a raw table sets; a secret's file counts as the secret."""
    for name, value in raw.items():
        yield (*path, name)
        yield (*path, name.removesuffix("_file"))
        if isinstance(value, dict):
            yield from _paths(value, (*path, name))


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsWrong([f"{file} cannot be read: {error}"]) from None


class _Reader:
    """Turns raw tables into structs and collects what is wrong on the way."""

    def __init__(self, file: Path | None, text: str) -> None:
        self.file = file
        self.text = text
        self.problems: list[str] = []

    def put(self, raw: dict[str, Any], path: tuple[str, ...], variable: Variable) -> None:
        """Puts a variable where the file would have its value; a secret and its file replace each other."""
        table = raw
        for part in path[:-1]:
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                return
            table = inner
        name = path[-1]
        other = name.removesuffix("_file") if name.endswith("_file") else f"{name}_file"
        if not isinstance(table.get(other), Variable):
            table.pop(other, None)
        table[name] = variable

    def section(self, kind: type[msgspec.Struct], raw: Any, path: tuple[str, ...], default: Any = None) -> Any:
        """A struct from a table, or None with the problems noted; what the table leaves out is as in `default`."""
        if not isinstance(raw, dict):
            self._wrong(path, f"expected a table, such as [{'.'.join(path)}]", raw)
            return None
        fields = fields_of(kind)
        values: dict[str, Any] = {}
        before = len(self.problems)
        for name, value in raw.items():
            here = (*path, name)
            plain = name.removesuffix("_file")
            if name in fields:
                values[fields[name].name] = self._value(fields[name], value, here)
            elif plain in fields and name != plain and secret_in(fields[plain].type):
                values[fields[plain].name] = self._from_file(fields[plain].type, value, here, twice=plain in raw)
            else:
                self._unknown(here, list(fields), value)
        self._fill(fields, values, path, default)
        if len(self.problems) > before:
            return None
        try:
            return kind(**values)
        except (ValueError, TypeError) as error:
            self._wrong(path, str(error), None)
            return None

    def _fill(self, fields: dict[str, FieldInfo], values: dict[str, Any], path: tuple[str, ...], default: Any) -> None:
        """Takes what was not given from `default`; what has no default at all is missing."""
        missing = []
        for name, field in fields.items():
            if field.name in values:
                continue
            if default is not None:
                values[field.name] = getattr(default, field.name)
            elif field.required:
                missing.append(f"{name} ({variable_of((*path, name))})")
        if missing:
            self._wrong(path, f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing", None)

    def _value(self, field: FieldInfo, value: Any, path: tuple[str, ...]) -> Any:
        kind = field.type
        if isinstance(value, Variable):
            return self._leaf(kind, value, path)
        if inner := section_in(kind):
            default = default_of(field)
            return self.section(inner, value, path, default if isinstance(default, inner) else None)
        if (inner := table_in(kind)) and isinstance(value, dict):
            return {name: self.section(inner, item, (*path, name)) for name, item in value.items()}
        if (inner := list_in(kind)) and isinstance(value, list):
            return tuple(self.section(inner, item, path) for item in value)
        return self._leaf(kind, value, path)

    def _leaf(self, kind: Any, value: Any, path: tuple[str, ...]) -> Any:
        try:
            if isinstance(value, Variable):
                return _finite(_from_text(kind, value.text))
            return _finite(msgspec.convert(value, kind, dec_hook=secret_from))
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            self._wrong(path, _in_words(kind, value, str(error)), value)
            return None

    def _from_file(self, kind: Any, value: Any, path: tuple[str, ...], *, twice: bool) -> Any:
        """A secret from the file that a `…_file` setting names; a relative path is relative to `mend.toml`."""
        if twice:
            self._wrong(path, f"give either {path[-1].removesuffix('_file')} or {path[-1]}, not both", value)
            return None
        name = value.text if isinstance(value, Variable) else value
        if not isinstance(name, str):
            self._wrong(path, "expected the path of a file", value)
            return None
        folder = self.file.parent if self.file and not isinstance(value, Variable) else Path()
        try:
            text = (folder / Path(name).expanduser()).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self._wrong(path, f"the file {name} cannot be read: {reason}", value)
            return None
        return self._leaf(kind, text, path)

    def _unknown(self, path: tuple[str, ...], names: list[str], value: Any) -> None:
        name = path[-1]
        near = get_close_matches(name, names, 1, 0.6)
        if near:
            hint = f"did you mean {'.'.join((*path[:-1], near[0]))}?"
        else:
            every = {leaf.path[-1]: ".".join(leaf.path) for leaf in leaves(Settings)}
            far = get_close_matches(name, list(every), 1, 0.75)
            hint = f"did you mean {every[far[0]]}?" if far else f"there are {', '.join(names)}."
        self._wrong(path, f"no such setting; {hint}", value)

    def _wrong(self, path: tuple[str, ...], reason: str, value: Any) -> None:
        name = ".".join(path) or "the settings"
        if isinstance(value, Variable):
            self.problems.append(f"{value.name} ({name}): {reason}")
        else:
            line = _line_of(self.text, path)
            self.problems.append(f"{self.file or 'settings'}{f':{line}' if line else ''}: {name}: {reason}")


def _from_text(kind: Any, text: str) -> Any:
    """A value from the text of a variable: JSON where it looks like it, a list by commas, else by the field's type."""
    if text[:1] in ("[", "{"):
        return msgspec.convert(msgspec.json.decode(text.encode()), kind, dec_hook=secret_from)
    try:
        return msgspec.convert(text, kind, strict=False, dec_hook=secret_from)
    except msgspec.ValidationError as error:
        if "`array`" not in str(error):
            raise
        return msgspec.convert([part.strip() for part in text.split(",") if part.strip()], kind, strict=False, dec_hook=secret_from)


def _finite(value: Any) -> Any:
    """The value, unless it is a number without an end, or none: TOML has `inf` and `nan`. Raises ValidationError."""
    if isinstance(value, float) and not math.isfinite(value):
        raise msgspec.ValidationError(_ENDLESS)
    return value


def _is_endless(value: Any) -> bool:
    try:
        return not math.isfinite(float(value.text if isinstance(value, Variable) else value))
    except (TypeError, ValueError, OverflowError):
        return False


def _in_words(kind: Any, value: Any, message: str) -> str:
    """A message of msgspec in the words of a person; a value that is wrong is never repeated when it may be a secret."""
    if float in parts_of(kind) and _is_endless(value):
        return _ENDLESS
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [str(member.value) for member in kind]
        given = value.text if isinstance(value, Variable) else value
        near = get_close_matches(str(given), choices, 1, 0.5)
        return f"expected one of {', '.join(choices)}" + (f"; did you mean {near[0]}?" if near else "")
    if "is malformed" in message or "JSON" in message:
        return "expected JSON"
    if "matching regex" in message and (said := described(kind)):
        return f"expected {said}"
    message = re.sub(r" - at `\$.*`$", "", message)
    message = re.sub(r"`(\w+)`", lambda match: _WORDS.get(match[1], match[1]), message)
    return message[:1].lower() + message[1:]


def _line_of(text: str, path: tuple[str, ...]) -> int | None:
    """The line of `mend.toml` that sets `path`, as far as a look at the tables and keys can tell."""
    table: tuple[str, ...] = ()
    best: int | None = None
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if match := re.match(r"\[+([^\]]+)\]+", line):
            table = _keys(match[1])
            here = table
        elif match := re.match(r"([^=#\[\"']+|\"[^\"]*\"|'[^']*')=", line):
            here = (*table, *_keys(match[1]))
        else:
            continue
        if here == path:
            return number
        if best is None and here[: len(path)] == path:
            best = number
    return best


def _keys(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
