"""`mend doctor`: each dependency, permission and setting, what is wrong with it and how to mend it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from ops.cli.console import Json, print_json
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from ops.examination import Finding

_MARKS = {"fine": ("ok", "32"), "note": ("--", "2"), "warning": ("!!", "33"), "wrong": ("XX", "31")}


def add_to(application: typer.Typer) -> None:
    application.command()(doctor)


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Says what is wrong here and how to mend it. Exit code 1 when something is."""
    from ops.examination import Level

    findings = run_now(_examined(session_of(context), as_json=as_json))
    if as_json:
        print_json(findings)
    wrong = sum(finding.level is Level.WRONG for finding in findings)
    if not as_json:
        warnings = sum(finding.level is Level.WARNING for finding in findings)
        print(f"\n{wrong or 'nothing'} wrong, {warnings} to look at")
    if wrong:
        raise typer.Exit(1)


async def _examined(session: Session, *, as_json: bool) -> list[Finding]:
    from ops.examination import examine

    findings = []
    async for finding in examine(session.loaded):
        findings.append(finding)
        if not as_json:
            _print(finding)
    return findings


def _print(finding: Finding) -> None:
    from schemas.text import printable

    mark, colour = _MARKS[finding.level.value]
    if sys.stdout.isatty():
        mark = f"\x1b[{colour}m{mark}\x1b[0m"
    print(f"{mark}  {finding.about:<18} {printable(finding.said)}", flush=True)
    if finding.mend:
        print(f"    {'':<18} → {printable(finding.mend)}", flush=True)
