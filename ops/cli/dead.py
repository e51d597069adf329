"""`mend dead`: what a group could not handle; look at it, put it back, or let it go. Each is written to the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.console import Json, Limit, one_line, print_json, print_pairs, print_rows
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from bus.connect import Bus
    from bus.dead import DeadRow, Result
    from sql.database import Database

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of dead letters, or of the events inside.", show_default=False)]
Type = Annotated[str, typer.Option("--type", help="Those with an event of this type inside.")]
Reason = Annotated[str, typer.Option("--reason", help="Those that died of this: undecodable, unknown_type, rejected, exhausted, crashed.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Force = Annotated[bool, typer.Option("--force", help="Also where a group, such as the archive, has not finished with the letter.")]
_COLUMNS = ("id", "at", "group", "topic", "type", "reason", "attempts", "error")

commands = typer.Typer(help="What a group could not handle.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="dead")


@commands.command("ls")
def list_(context: typer.Context, type_: Type = "", reason: Reason = "", limit: Limit = 100, as_json: Json = False) -> None:
    """Lists dead letters, oldest first."""
    rows = run_now(_listed(session_of(context), type_, reason, limit))
    print_rows([_line(row) for row in rows], _COLUMNS, as_json=as_json, empty="Nothing has died.")


def _line(row: DeadRow) -> dict[str, Any]:
    letter = row.letter
    return {
        "id": letter.id,
        "at": letter.at,
        "group": letter.group,
        "topic": letter.source_topic,
        "type": letter.original_type or "?",
        "reason": letter.reason.value,
        "attempts": letter.attempts,
        "error": letter.error,
        "subject": letter.subject,
        "incident": letter.incident,
        "place": f"{row.partition}/{row.entry}",
    }


async def _listed(session: Session, kind: str, reason: str, limit: int) -> list[DeadRow]:
    async with session.bus() as bus:
        return (await _selected(bus, kind=kind, reason=reason))[:limit]


async def _selected(bus: Bus, *, ids: list[str] | None = None, kind: str = "", reason: str = "") -> list[DeadRow]:
    """The dead letters with one of these ids, of this type and reason; no ids, type or reason stand for any."""
    from bus.dead import letters
    from ops.cli.words import choice_of
    from schemas.words import DeadReason

    cause = choice_of(DeadReason, reason) if reason else None
    rows = [row async for row in letters(bus, kind=kind, reason=cause)]
    return [row for row in rows if ids is None or {row.letter.id, row.letter.subject} & set(ids)]


@commands.command()
def show(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The id of the dead letter, or of the event inside.", show_default=False)],  # noqa: A002
    as_json: Json = False,
) -> None:
    """Shows one dead letter with its traceback and the bytes that it was."""
    row = run_now(_one(session_of(context), id))
    letter = row.letter
    original = letter.original.decode("utf-8", "backslashreplace")
    if as_json:
        print_json({**_line(row), "traceback": letter.traceback, "original": original})
        return
    print_pairs([*_line(row).items(), ("traceback", letter.traceback), ("original", original)])


async def _one(session: Session, id: str) -> DeadRow:  # noqa: A002
    from bus.dead import show as find
    from ops.errors import CommandFailed

    async with session.bus() as bus:
        row = await find(bus, id)
    if row is None:
        raise CommandFailed(f"there is no dead letter {id}: `mend dead ls` lists them")
    return row


@commands.command()
def replay(
    context: typer.Context,
    ids: Ids = None,
    type_: Type = "",
    reason: Reason = "",
    all_: All = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Puts dead letters back for the group that could not handle them; run twice, it happens once."""
    _act(context, "replay", ids=ids, kind=type_, reason=reason, all_=all_, force=force, as_json=as_json)


@commands.command()
def drop(
    context: typer.Context,
    ids: Ids = None,
    type_: Type = "",
    reason: Reason = "",
    all_: All = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Lets dead letters go for good; the archive keeps them."""
    _act(context, "drop", ids=ids, kind=type_, reason=reason, all_=all_, force=force, as_json=as_json)


def _act(
    context: typer.Context, verb: str, *, ids: list[str] | None, kind: str, reason: str, all_: bool, force: bool, as_json: bool
) -> None:
    from ops.errors import CommandFailed

    if not (ids or kind or reason or all_):
        raise CommandFailed(f"say which dead letters to {verb}: ids, --type, --reason, or --all")
    results: list[dict[str, Any]] = []
    try:
        unknown = run_now(_done(session_of(context), verb, ids or None, kind, reason, results, force=force))
    except BaseException:
        if results:
            _print_results(results, as_json=as_json)
        raise
    if not as_json and not results and not unknown:
        print(f"Nothing to {verb}: no dead letter is left that fits.")
    _print_results(results, as_json=as_json)
    if unknown:
        raise CommandFailed(f"there is no dead letter {', '.join(unknown)} that fits: `mend dead ls` lists them")
    if any(result["outcome"] in {"unseen", "refused"} for result in results):
        raise typer.Exit(1)


def _print_results(results: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(results)
        return
    for result in results:
        print(one_line(f"{result['id']}  {result['said']}"))


async def _done(
    session: Session, verb: str, ids: list[str] | None, kind: str, reason: str, results: list[dict[str, Any]], *, force: bool
) -> list[str]:
    """Adds to `results` what became of each that fits, also where it cannot go on after some.

    Returns which of the ids nobody has ever heard of: one that was dealt with before is none of those.
    """
    from sql.audit import dealt_with

    known: set[str] = set()
    async with session.database() as database, session.bus() as bus:
        for row in await _selected(bus, ids=ids, kind=kind, reason=reason):
            known |= {row.letter.id, row.letter.subject}
            result = await _audited(database, bus, verb, row, force=force)
            results.append({"id": row.letter.id, "outcome": result.outcome.value, "said": _said(result), "group": row.letter.group})
        if missing := [one for one in ids or () if one not in known]:
            async with database.connection() as connection:
                before = await dealt_with(connection, missing)
            missing = [one for one in missing if one not in before]
    return missing


def _said(result: Result) -> str:
    if result.group:
        return f"kept: {result.group} has not finished with it yet; try again, or --force"
    return f"{result.outcome.value}: {result.why}" if result.why else result.outcome.value


async def _audited(database: Database, bus: Bus, verb: str, row: DeadRow, *, force: bool) -> Result:
    """Does it between the opening and the closing of its audit row."""
    from bus.dead import Outcome, drop, replay
    from ops.cli.people import user_of_system
    from ops.clock import now
    from schemas.event import ID_LIMIT
    from schemas.identity import new_id
    from schemas.text import clean
    from sql.audit import AuditState, audit_close, audit_open

    letter, time = row.letter, now()
    audit = f"{verb}/{clean(letter.id, ID_LIMIT)}/{new_id(time)}"
    incident = clean(letter.incident, ID_LIMIT)
    about = f"{letter.original_type or 'bytes'} {letter.subject} for {letter.group}".replace("  ", " ")
    async with database.connection() as connection:
        who, what = f"person/{user_of_system()}", f"{verb} dead letter"
        await audit_open(connection, id=audit, at=time, who=who, what=what, about=about, incident=incident, input=letter.id)
        act = replay if verb == "replay" else drop
        try:
            result = await act(bus, row, force=force)
        except Exception as error:
            await audit_close(connection, audit, state="unknown", error=str(error))
            raise
        state: AuditState = "refused" if result.outcome in {Outcome.UNSEEN, Outcome.REFUSED} else "success"
        await audit_close(connection, audit, state=state, output=result.outcome.value, error=result.why)
    return result
