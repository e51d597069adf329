"""How commands answer: a table for eyes, plain columns where there is no terminal, JSON for machines; always cleaned."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="The most rows to print.")]
_BREAKS = str.maketrans("\n\t", "  ")
_CELL = 200
_NARROWEST = 12  # characters: a column of text is not folded into less
_APART = 2  # spaces between two columns


def print_json(value: Any, *, indent: int = 2) -> None:
    """One JSON document on stdout; `indent` 0 for one line."""
    import msgspec

    from ops.facts.cleaning import cleaned
    from schemas.secret import secret_shown

    body = msgspec.json.encode(cleaned(msgspec.to_builtins(value, enc_hook=secret_shown)))
    print((msgspec.json.format(body, indent=indent) if indent else body).decode(), flush=True)


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Rows as a table of these columns, or all of each row as JSON; `empty` is said where there is none."""
    if as_json:
        print_json(list(rows))
    elif not rows:
        print(empty)
    else:
        print_table([[shown(row.get(column)) for column in columns] for row in rows], [column.replace("_", " ") for column in columns])


def print_table(cells: Sequence[Sequence[str]], titles: Sequence[str]) -> None:
    """A ruled table on a terminal that is wide enough for one, else columns two spaces apart, each row on one line."""
    if sys.stdout.isatty() and _ruled(cells, titles):
        return
    widths = [max(len(title), *(len(row[place]) for row in cells)) for place, title in enumerate(titles)]
    for row in ([title.upper() for title in titles], *cells):
        print((" " * _APART).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _ruled(cells: Sequence[Sequence[str]], titles: Sequence[str]) -> bool:
    """Prints a ruled table; False, and nothing is printed, where the terminal is too narrow.

    What people copy, such as an id or a name, is one word: a column without a cell of several words is never broken.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, _APART - 1, 0, 0), show_edge=False, pad_edge=False)
    least = _APART * (len(titles) - 1)
    for title, *column in zip(titles, *cells, strict=True):
        whole = all(len(cell.split()) <= 1 for cell in column)
        width = max(cell_len(text) for text in (title, *column))
        least += width if whole else min(width, _NARROWEST)
        table.add_column(title, no_wrap=whole)
    if least > console.width:
        return False
    for row in cells:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    console.print(table)
    return True


def print_pairs(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one below the other; what is empty is left out."""
    from ops.facts.cleaning import VALUE_LIMIT

    known = [(name, shown(value, VALUE_LIMIT)) for name, value in pairs if value not in (None, "", (), [], {})]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        lines = value.split("\n")
        print(f"{name.ljust(width)}  {lines[0]}")
        for line in lines[1:]:
            print(f"{'':{width}}  {line}")


def shown(value: Any, limit: int = _CELL) -> str:
    """A value as a person reads it, cleaned, on one line where `limit` is that of a cell."""
    from schemas.text import clean

    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case float():
            text = f"{value:.3f}".rstrip("0").rstrip(".")
        case datetime():
            text = value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        case Mapping():
            text = ", ".join(f"{name}={shown(item)}" for name, item in value.items())
        case list() | tuple():
            text = ", ".join(shown(item) for item in value)
        case _:
            text = str(value)
    text = clean(text, limit)
    return " ".join(text.split()) if limit == _CELL else text


def counted(number: int, noun: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def one_line(text: str, limit: int = 400) -> str:
    """A line as it is laid out, cleaned: a line feed in somebody's words is a space, for it would look like a line of ours."""
    from schemas.text import clean

    return clean(text, limit).translate(_BREAKS)


def duration(seconds: float) -> str:
    """A time span for people: `12 ms`, `3.4 s`, `5 min 2 s`, `2 h 5 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
