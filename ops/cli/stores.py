"""`mend migrate` and `mend projections`: the tables of Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.console import Json, print_json
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from sql.projections import Rebuilt

commands = typer.Typer(help="Tables that are folded from the event log.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.command()(migrate)
    application.add_typer(commands, name="projections")


def migrate(context: typer.Context, as_json: Json = False) -> None:
    """Applies the migrations that the database lacks.

    `mend up` does so by itself.
    """
    applied = run_now(_migrated(session_of(context)))
    if as_json:
        print_json({"applied": applied})
    else:
        print("\n".join(f"applied {name}" for name in applied) or "nothing to apply: the database is up to date")


async def _migrated(session: Session) -> list[str]:
    from sql.migrate import migrate

    async with session.database() as database:
        return await migrate(database)


@commands.command()
def rebuild(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="trust, playbooks or lessons.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Folds a projection anew from the event log, beside the live one, and swaps them."""
    from ops.cli.words import known_word
    from sql.projections import NAMES

    rebuilt = run_now(_rebuilt(session_of(context), known_word(name, list(NAMES), "projection")))
    if as_json:
        print_json(rebuilt)
    else:
        print(f"{rebuilt.name} is rebuilt: {rebuilt.rows} rows from {rebuilt.events} events")


async def _rebuilt(session: Session, name: str) -> Rebuilt:
    from sql.projections import rebuild

    async with session.database() as database:
        return await rebuild(database, name)
