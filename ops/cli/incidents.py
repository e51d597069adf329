"""`mend incidents`: what is wrong now, and what was done about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.console import Json, Limit, print_json, print_pairs, print_rows
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from ops.facts.dossier import Story
    from schemas.words import IncidentState
    from sql.evidence import EvidenceRow
    from sql.incidents import IncidentRow

Incident = Annotated[str, typer.Argument(help="The id of the incident.", show_default=False)]
_COLUMNS = ("id", "state", "severity", "target", "title", "firing", "opened_at")

commands = typer.Typer(help="What is wrong now, and what was done about it.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="incidents")


@commands.command("ls")
def list_(
    context: typer.Context,
    state: Annotated[str, typer.Option(help="investigating, mitigating, resolved, closed, or all.")] = "all",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Lists incidents, newest first."""
    from ops.cli.words import choices_of
    from schemas.words import IncidentState

    states = choices_of(IncidentState, state)
    rows = run_now(_listed(session_of(context), states, limit))
    empty = f"No incident is {states[0].value.lower()}." if states else "No incident has been opened."
    print_rows([_line(row) for row in rows], _COLUMNS, as_json=as_json, empty=empty)


async def _listed(session: Session, states: tuple[IncidentState, ...], limit: int) -> list[IncidentRow]:
    from sql.incidents import list_incidents

    async with session.database() as database, database.connection() as connection:
        return await list_incidents(connection, limit, states)


def _line(row: IncidentRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "state": row.state.value,
        "severity": row.severity.value,
        "target": str(row.target),
        "title": row.title,
        "firing": row.firing,
        "opened_at": row.opened_at,
        "resolved_at": row.resolved_at,
        "cluster": row.target.cluster,
        "alerts": row.alerts,
        "disposition": row.disposition.value if row.disposition else None,
    }


@commands.command()
def show(context: typer.Context, incident: Incident, as_json: Json = False) -> None:
    """Shows one incident: what was seen, what was asked of people, and its timeline."""
    story = run_now(_story(session_of(context), incident))
    if as_json:
        print_json(story)
        return
    row = story.incident
    labels = ", ".join(f"{name}={value}" for name, value in row.labels.items())
    print_pairs(
        [
            *_line(row).items(),
            ("services", row.services),
            ("labels", labels),
            ("healed", row.succeeded),
            ("effectiveness", f"{row.effectiveness} of 5" if row.effectiveness else ""),
            ("notes", row.notes),
            ("closed", row.closed_at),
            *_learned(story),
            *_evidence(story.evidence),
        ]
    )
    print()
    if story.approvals:
        from ops.cli.approvals import line_of

        print_rows([line_of(one) for one in story.approvals], ("id", "state", "risk", "action", "signatures"), as_json=False, empty="")
        print()
    rows = [{"at": line.at, "by": line.by, "what": line.what} for line in story.timeline]
    print_rows(rows, ("at", "by", "what"), as_json=False, empty="Nothing is in its timeline yet.")


async def _story(session: Session, incident: str) -> Story:
    from ops.facts.dossier import story_of

    async with session.database() as database:
        return await story_of(database, incident)


def _learned(story: Story) -> list[tuple[str, str]]:
    """What was taken to be wrong and what a critic said, what was declared to follow, and what people said of it all."""
    from ops.cli.learned import declared_line, diagnosis_line, feedback_line

    return [
        ("diagnoses", "\n".join(diagnosis_line(one) for one in story.diagnoses)),
        ("declared", "\n".join(line for one in story.declarations for line in declared_line(one))),
        ("feedback", "\n".join(feedback_line(one) for one in story.feedback)),
    ]


def _evidence(rows: Sequence[EvidenceRow]) -> list[tuple[str, str]]:
    """The newest look at the target, and the one before an action, which it is to be compared with.

    Of the look that an action was proposed on, the alert and the metrics stay shown: the others may not have them.
    """
    from schemas.in_short import from_outside, in_short

    newest = {row.phase: row for row in rows}
    shown = [newest[phase] for phase in ("before", "after") if phase in newest] or list(newest.values())
    names = {"proposal": "seen", "before": "seen before", "after": "seen after"}
    lines = [(names[row.phase], "\n".join(in_short(row.snapshot))) for row in shown]
    decided = newest.get("proposal")
    if decided is None or decided in shown or not (outside := from_outside(decided.snapshot)):
        return lines
    return [("seen at first", "\n".join(outside)), *lines]
