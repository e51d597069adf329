"""What the reader sees: one line for each event, readable without colour and without a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

from rich.console import Console
from rich.text import Text

from ops.demo.narrator import Line, clock
from schemas.text import clean

_STAGE_WIDTH = 13


class Screen:
    """Prints to `file`; rich decides about colour (NO_COLOR, TERM, TTY) and never about words. Lines are never cut."""

    def __init__(self, file: TextIO) -> None:
        self._console = Console(file=file, highlight=False, markup=False, soft_wrap=True, emoji=False)

    def title(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style))

    def command(self, text: str) -> None:
        """A command that the reader could type."""
        self._console.print(Text(f"    $ {text}", style="cyan"))

    def event(self, at: datetime, line: Line) -> None:
        """One event: its time, the stage that told it, and the sentence."""
        row = Text(f"  {clock(at)}  ", style="dim")
        row.append(f"{line.stage:<{_STAGE_WIDTH}} ", style="bold")
        row.append(clean(line.text, 400), style="" if line.style == "default" else line.style)
        self._console.print(row)

    def rows(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Plain columns, as wide as their widest word."""
        widths = [max(len(row[place]) for row in [columns, *rows]) for place in range(len(columns))]
        for number, row in enumerate([columns, *rows]):
            text = "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
            self._console.print(Text(f"  {text}", style="" if number else "bold"))
