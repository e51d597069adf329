"""Plain YAML with the place of each of its parts: no tags, no key twice, and no more of it than a person writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from schemas.text import printable

if TYPE_CHECKING:
    import yaml

LIMIT = 256 * 1024  # characters of one file
_DEPTH = 20
_NODES = 20_000

Path = tuple[str | int, ...]


class Fault(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong, at a place that counts from 1."""

    file: str
    line: int
    column: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.reason}"


class YamlWrong(ValueError):
    """The text is not the plain YAML that is wanted."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Located:
    """The plain `value` of a YAML text, and the place of each part of it. `what` it is to be is only told. Raises YamlWrong."""

    def __init__(self, file: str, text: str, *, what: str) -> None:
        self._file = file
        self._what = what
        self._places: dict[Path, tuple[int, int]] = {(): (1, 1)}
        self._keys: dict[Path, tuple[int, int]] = {}
        self._quoted: set[Path] = set()
        self._nodes = 0
        if len(text) > LIMIT:
            raise YamlWrong(Fault(file, 1, 1, f"the file has {len(text)} characters: {LIMIT} are allowed"))
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

    def line_of(self, path: Path) -> int:
        """The line of the deepest known place on the way to `path`."""
        return self.fault(path, "").line

    def _composed(self, text: str) -> yaml.Node:
        import yaml

        try:
            documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise YamlWrong(Fault(self._file, line, column, f"this is no YAML: {printable(str(error.problem))[:200]}")) from None
        except (yaml.YAMLError, RecursionError) as error:
            raise YamlWrong(Fault(self._file, 1, 1, f"this is no YAML: {printable(str(error).partition(chr(10))[0])[:200]}")) from None
        if not documents or documents[0] is None:
            raise YamlWrong(Fault(self._file, 1, 1, f"the file is empty: a {self._what} is expected"))
        if len(documents) > 1:
            raise YamlWrong(Fault(self._file, 1, 1, f"one {self._what} is expected, and there are {len(documents)} documents"))
        node: yaml.Node = documents[0]
        return node

    def _plain(self, node: yaml.Node, path: Path) -> Any:
        import yaml

        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self._places[path] = line, column
        self._nodes += 1
        if self._nodes > _NODES or len(path) > _DEPTH:
            raise YamlWrong(Fault(self._file, line, column, f"there is too much in it, or it is nested too deeply, for a {self._what}"))
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
                raise YamlWrong(Fault(self._file, line, column, "the name of a field is expected"))
            if name in found:
                raise YamlWrong(Fault(self._file, line, column, f"the field {printable(name)[:60]!r} is there twice"))
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
        raise YamlWrong(Fault(self._file, line, column, f"the tag {printable(node.tag)[:60]!r} has no place here"))
