"""`mend schemas`: the JSON Schema of every event, for producers in other languages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import msgspec

commands = typer.Typer(help="The JSON Schema of every event.", no_args_is_help=True, rich_markup_mode=None)
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="schemas")


@commands.command()
def export(folder: Annotated[Path, typer.Argument(help="Where to write them; made where it is not there.", show_default=False)]) -> None:
    """Writes TYPE.json for each event, and index.json with the topic and the version of each."""
    print(f"{write_schemas(folder)} schemas written to {folder}")


def write_schemas(folder: Path) -> int:
    """Writes the schema of every event and an index of them; returns how many. Raises CommandFailed."""
    import msgspec

    from ops.errors import CommandFailed
    from schemas.events import EVENT_TYPES

    index = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, kind in EVENT_TYPES.items():
            (folder / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(schema_of(kind)), indent=2) + b"\n")
            index.append({"type": name, "topic": kind.topic, "version": kind.version, "schema": f"{name}.json"})
        (folder / "index.json").write_bytes(msgspec.json.format(msgspec.json.encode(index), indent=2) + b"\n")
    except OSError as error:
        raise CommandFailed(f"the schemas cannot be written to {folder}: {error.strerror}") from error
    return len(index)


def schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of one type, complete in itself."""
    import msgspec

    schema = msgspec.json.schema(kind)
    return {"$schema": _DIALECT, "title": kind.__name__, **schema}
