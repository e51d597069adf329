"""`python -m tests.bench [SECTION …]`: measures, prints the tables, and after a whole run writes docs/performance.md.

Nothing is asserted: a figure that falls short is said in the table. Only events lost or doubled make the run fail.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.ground import Company, commit, machine
from tests.bench.table import Section, wanted_grid

SECTIONS = ("hops", "chain", "reaction", "storm", "archive", "projections", "playbooks", "newcomer")


PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_INTRODUCTION = """\
# How fast Mendstream is

Written by `make bench`, as measured on {day} at commit {commit}; one run, everything side by side, nothing left out.
A figure that was wanted and not reached says **no**.
"""


async def _measure(names: list[str]) -> list[Section]:
    sections = []
    for name in names:
        company = Company()
        section: Section = await importlib.import_module(f"tests.bench.sections.{name}").measure()
        section.notes.append(f"Other processes used {company.share():.0%} of the machine meanwhile.")
        print(section.text(), end="\n\n", flush=True)
        sections.append(section)
    return sections


def _page(ground: str, sections: Sequence[Section], took: str) -> str:
    introduction = _INTRODUCTION.format(day=f"{datetime.now(UTC):%Y-%m-%d}", commit=commit())
    wanted = wanted_grid([one for section in sections for one in section.wanted])
    return "\n\n".join([introduction.rstrip(), ground, took, wanted, *(section.text(wanted=False) for section in sections)]) + "\n"


def main() -> int:
    chosen = sys.argv[1:] or list(SECTIONS)
    unknown = sorted(set(chosen) - set(SECTIONS))
    if unknown:
        print(f"there is no section {unknown[0]!r}: choose from {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    ground = "\n".join(f"- {line}" for line in machine())
    print(ground, end="\n\n", flush=True)
    started = time.monotonic()
    sections = asyncio.run(_measure(chosen))
    took = f"The run took {time.monotonic() - started:.0f} s."
    print(took)
    if tuple(chosen) == SECTIONS:
        PAGE.write_text(_page(ground, sections, took))
    return int(any(section.broken for section in sections))


if __name__ == "__main__":
    sys.exit(main())
