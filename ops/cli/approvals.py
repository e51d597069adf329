"""`mend approvals`: what waits for a signature, and how to give or refuse it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.console import Json, Limit, print_json, print_pairs, print_rows
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from ops.facts.dossier import Dossier
    from schemas.words import Choice
    from sql.approvals import ApprovalRow

Approval = Annotated[str, typer.Argument(help="The id of the approval.", show_default=False)]
As = Annotated[str | None, typer.Option("--as", help="Sign as this person; the token comes from MEND_PERSON_TOKEN or is asked for.")]
Comment = Annotated[str, typer.Option("--comment", "-m", help="What the others should know.")]
_COLUMNS = ("id", "state", "risk", "action", "signatures", "expires_at", "incident")

commands = typer.Typer(help="What waits for a signature, and how to give or refuse it.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="approvals")


@commands.command("ls")
def list_(
    context: typer.Context,
    state: Annotated[str, typer.Option(help="waiting, approved, rejected, expired, withdrawn, or all.")] = "waiting",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Lists approvals, those that wait unless told otherwise."""
    from ops.cli.words import choices_of
    from schemas.words import ApprovalState

    states = choices_of(ApprovalState, state)
    rows = run_now(_listed(session_of(context), states, limit))
    print_rows([line_of(row) for row in rows], _COLUMNS, as_json=as_json, empty="Nothing waits for a signature.")


async def _listed(session: Session, states: Any, limit: int) -> list[ApprovalRow]:
    from sql.approvals import list_approvals

    async with session.database() as database, database.connection() as connection:
        return list(await list_approvals(connection, states=states, limit=limit))


def line_of(row: ApprovalRow) -> dict[str, Any]:
    """One approval as a row of a table."""
    from schemas.action import describe

    return {
        "id": row.id,
        "state": row.state.value,
        "risk": row.risk.value,
        "action": describe(row.action),
        "signatures": f"{len(row.signers)} of {row.needed}",
        "expires_at": row.expires_at,
        "incident": row.incident,
        "signers": row.signers,
        "cluster": row.target.cluster,
        "severity": row.severity.value,
        "rule": row.rule,
    }


@commands.command()
def show(context: typer.Context, approval: Approval, as_json: Json = False) -> None:
    """Shows what would be done, why, what it rests on and what would undo it."""
    from ops.cli.dossier import pages
    from ops.clock import now

    dossier = run_now(_dossier(session_of(context), approval))
    if as_json:
        print_json(dossier)
        return
    print_pairs(pages(dossier, now()))


async def _dossier(session: Session, approval: str) -> Dossier:
    from ops.facts.dossier import dossier_of

    async with session.database() as database:
        return await dossier_of(database, approval)


@commands.command()
def sign(context: typer.Context, approval: Approval, person: As = None, comment: Comment = "", as_json: Json = False) -> None:
    """Signs an approval as the user of this machine, or as another person with that person's token."""
    from schemas.words import Choice

    _vote(session_of(context), approval, Choice.SIGN, person=person, comment=comment, as_json=as_json)


@commands.command()
def reject(context: typer.Context, approval: Approval, person: As = None, comment: Comment = "", as_json: Json = False) -> None:
    """Rejects an approval: one rejection ends it."""
    from schemas.words import Choice

    _vote(session_of(context), approval, Choice.REJECT, person=person, comment=comment, as_json=as_json)


@commands.command()
def undo(context: typer.Context, approval: Approval, person: As = None, comment: Comment = "", as_json: Json = False) -> None:
    """Proposes what undoes an action that was done, or the way back that was told; the gate decides, and who proposes cannot sign."""
    from ops.cli.people import authenticate
    from ops.cli.undo import propose

    session = session_of(context)
    answer = run_now(propose(session, approval, person=authenticate(session.settings, person), comment=comment))
    if as_json:
        print_json(answer)
    else:
        print(answer.said)
    if answer.held:
        raise typer.Exit(1)


def _vote(session: Session, approval: str, choice: Choice, *, person: str | None, comment: str, as_json: bool) -> None:
    from ops.cli.people import authenticate
    from ops.cli.votes import cast

    name = authenticate(session.settings, person)
    answer = run_now(cast(session, approval, choice, person=name, comment=comment))
    if as_json:
        print_json(answer)
    else:
        print(answer.said)
    if answer.refused:
        raise typer.Exit(1)
