"""`mend projections`: tables that are folds over the event log, compared with it and built anew from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.console import Json, counted, print_json, print_rows, print_table, shown
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from sql.projections.rebuild import Rebuilt
    from sql.projections.status import Standing
    from sql.projections.verify import Difference, Verified

_LISTED = ("name", "tables", "types")
_STATUS = ("name", "rows", "events_in_the_log", "newest_taken", "taken_at", "lag_seconds", "rebuilt_at", "verified_at", "differing")

commands = typer.Typer(help="Tables that are folds over the event log.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="One that `mend projections ls` names.", show_default=False)]
Names = Annotated[list[str] | None, typer.Argument(help="Those that `mend projections ls` names; all without any.", show_default=False)]


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="projections")


@commands.command("ls")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """Lists the projections: from which types of events they are folded, into which tables, and how many rows those have."""
    from sql.projections import ALL

    tables = run_now(_sizes(session_of(context)))
    rows = [{"name": one.name, "tables": tables[one.name], "types": one.types} for one in ALL]
    print_rows(rows, _LISTED, as_json=as_json, empty="There is no projection.")


@commands.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Shows how far each projection is, and when it was last compared and rebuilt.

    The lag is in event time, from the newest event that was taken to the newest of its types in the log: those after it may have
    changed nothing.
    """
    standings = run_now(_standings(session_of(context)))
    rows = [
        {
            "name": one.name,
            "rows": sum(one.rows.values()),
            "events_in_the_log": one.events,
            "newest_in_the_log": one.newest,
            "newest_taken": one.taken,
            "taken_at": one.taken_at,
            "lag_seconds": one.lag,
            "rebuilt_at": one.rebuilt_at,
            "verified_at": one.verified_at,
            "differing": one.differing,
        }
        for one in standings
    ]
    print_rows(rows, _STATUS, as_json=as_json, empty="There is no projection.")


async def _sizes(session: Session) -> dict[str, dict[str, int]]:
    from sql.projections.status import sizes

    async with session.database() as database, database.connection() as connection:
        return await sizes(connection)


async def _standings(session: Session) -> list[Standing]:
    from sql.projections.status import standings

    async with session.database() as database, database.connection() as connection:
        return await standings(connection)


@commands.command()
def verify(
    context: typer.Context,
    names: Names = None,
    most: Annotated[int, typer.Option("--limit", min=1, max=1000, help="The most rows to print of each.")] = 20,
    as_json: Json = False,
) -> None:
    """Builds projections aside and compares them row by row; exits with 1 where any row differs.

    What is not archived yet, or not taken yet, is no difference.
    """
    from ops.cli.words import known_word
    from sql.projections import NAMES

    chosen = [known_word(name, list(NAMES), "projection") for name in dict.fromkeys(names or NAMES)]
    verified = run_now(_verified(session_of(context), chosen, most))
    if as_json:
        print_json(verified)
    else:
        for one in verified:
            _tell(one)
    if any(one.differing for one in verified):
        raise typer.Exit(1)


async def _verified(session: Session, names: list[str], most: int) -> list[Verified]:
    from sql.projections.verify import verify

    async with session.database() as database:
        return [await verify(database, name, most=most) for name in names]


def _tell(verified: Verified) -> None:
    left_out = f"; newer ones that are not taken yet, or change nothing: {verified.undecided}" if verified.undecided else ""
    differ = "1 row differs" if verified.differing == 1 else f"{verified.differing} rows differ"
    said = differ if verified.differing else f"all {verified.rows} rows are what the event log says"
    print(f"{verified.name}: {said} ({counted(verified.events, 'event')}{left_out})")
    if verified.differing:
        print_table([_cells(one) for one in verified.differences], ("table", "row", "as it is", "as the event log says"))
        more = verified.differing - len(verified.differences)
        said = f"… and {more} more\n" if more else ""
        if verified.overlooked:
            late = f"{counted(verified.overlooked, 'event')} older than an hour"
            said += f"learn has not decided about {late}: look at `mend streams ls` before anything is rebuilt\n"
        print(f"{said}`mend projections rebuild {verified.name}` makes it what the event log says")


def _cells(difference: Difference) -> list[str]:
    """One row that differs: the columns that are the same on both sides name it."""
    live, built = difference.live or {}, difference.built or {}
    same = {name: value for name, value in live.items() if name in built and built[name] == value}
    apart = [_without(row, same) for row in (live, built)]
    return [difference.table, shown(same), *(shown(row) or "no such row" for row in apart)]


def _without(row: dict[str, Any], same: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in same}


@commands.command()
def rebuild(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Builds a projection anew from the event log, beside the live one, and swaps them; the stages go on meanwhile."""
    from ops.cli.words import known_word
    from sql.projections import NAMES

    rebuilt = run_now(_rebuilt(session_of(context), known_word(name, list(NAMES), "projection")))
    if as_json:
        print_json(rebuilt)
    else:
        told = f"{counted(rebuilt.rows, 'row')} from {counted(rebuilt.events, 'event')}; rows changed: {rebuilt.changed}"
        print(f"{rebuilt.name} is rebuilt: {told}; who writes to it waited for {rebuilt.held:.2f} s at most")


async def _rebuilt(session: Session, name: str) -> Rebuilt:
    """Rebuilds it, with a row in the audit log from the first moment."""
    from ops.cli.people import user_of_system
    from ops.clock import now
    from schemas.identity import new_id
    from sql.audit import audit_close, audit_open
    from sql.projections.rebuild import rebuild

    async with session.database() as database:
        begun = now()
        row = new_id(begun)
        async with database.connection() as connection:
            about = f"projection {name}"
            await audit_open(connection, id=row, at=begun, who=f"person/{user_of_system()}", what="projection rebuilt", about=about)
        try:
            rebuilt = await rebuild(database, name)
        except Exception as error:
            async with database.connection() as connection:
                await audit_close(connection, row, state="failed", error=str(error), seconds=(now() - begun).total_seconds())
            raise
        async with database.connection() as connection:
            said = f"{rebuilt.rows} rows from {rebuilt.events} events, {rebuilt.changed} changed"
            await audit_close(connection, row, state="success", output=said, seconds=(now() - begun).total_seconds())
        return rebuilt
