"""`mend migrate`: the tables of Postgres."""

from __future__ import annotations

import typer

from ops.cli.console import Json, print_json
from ops.cli.session import Session, run_now, session_of


def add_to(application: typer.Typer) -> None:
    application.command()(migrate)


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
