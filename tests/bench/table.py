"""How results are told: a section is a table with the figures that were wanted and what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Wanted(msgspec.Struct, frozen=True):
    """One figure that Mendstream promises to reach, and whether it did."""

    what: str
    wanted: str
    measured: str
    met: bool


class Section(msgspec.Struct, kw_only=True):
    """One table. `how` says what was done; `broken` are events lost or doubled, which makes the run a failure."""

    title: str
    how: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = []
    wanted: list[Wanted] = []
    notes: list[str] = []
    broken: list[str] = []

    def text(self, *, wanted: bool = True) -> str:
        """The section in Markdown, aligned, so that it reads well in a terminal too; `wanted` adds what was wanted of it."""
        parts = [f"## {self.title}", self.how, grid(self.columns, self.rows)]
        points = [*self.notes, *(f"**Broken:** {what}" for what in self.broken)]
        if points:
            parts.append("\n".join(f"- {point}" for point in points))
        if wanted and self.wanted:
            parts.append(wanted_grid(self.wanted))
        return "\n\n".join(parts)


def wanted_grid(wanted: Sequence[Wanted]) -> str:
    rows = [(one.what, one.wanted, one.measured, "yes" if one.met else "**no**") for one in wanted]
    return grid(("", "wanted", "measured", "met"), rows)


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, figures to the right."""
    widths = [max(len(row[at]) for row in [columns, *rows]) for at in range(len(columns))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(row, widths) for row in [columns, rule, *rows])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return "| " + " | ".join(padded) + " |"


def at_least(what: str, wanted: float, measured: float, unit: str = "", digits: int = 0) -> Wanted:
    return Wanted(what, f"≥ {wanted:,.{digits}f}{unit}", f"{measured:,.{digits}f}{unit}", measured >= wanted)


def below(what: str, wanted: float, measured: float, unit: str = "", digits: int = 1) -> Wanted:
    return Wanted(what, f"< {wanted:,g}{unit}", f"{measured:,.{digits}f}{unit}", measured < wanted)
