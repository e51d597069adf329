"""`mend knowledge`: what every execution has taught, found again by its words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.console import Json, print_json, print_pairs, print_rows
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from schemas.words import Result
    from sql.knowledge_search import Entry, Found

_COLUMNS = ("id", "at", "alert", "what", "result", "path", "excerpt")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

commands = typer.Typer(help="What every execution has taught.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="knowledge")


@commands.command()
def search(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(help='Words, "a phrase", or, and -not. None: everything.')] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="The most entries to print.")] = 20,
    alert: Annotated[str, typer.Option("--alert", help="Only of this alert.", show_default=False)] = "",
    result: Annotated[str, typer.Option("--result", help="Only what ended so, such as success or failed.", show_default=False)] = "",
    since: Annotated[str, typer.Option("--since", help="Only since then: 12h, 7d, or 2026-01-31.", show_default=False)] = "",
    as_json: Json = False,
) -> None:
    """Searches what executions have taught, in English and Chinese, the best match first.

    With -- before the words none of them is taken for an option: `mend knowledge search -- crash -latency`.
    """
    from ops.cli.words import choice_of
    from ops.clock import now
    from schemas.words import Result

    ended = choice_of(Result, result) if result else None
    began = time_of(since, now()) if since else None
    found = run_now(_found(session_of(context), " ".join(words or ()), alert, ended, began, limit))
    if as_json:
        print_json(found)
        return
    lines = [
        {**{name: getattr(one.entry, name) for name in ("id", "at", "alert", "what", "result", "path")}, "excerpt": one.excerpt}
        for one in found
    ]
    print_rows(lines, _COLUMNS, as_json=False, empty="Nothing is found.")


async def _found(session: Session, text: str, alert: str, result: Result | None, since: datetime | None, limit: int) -> list[Found]:
    from ops.errors import CommandFailed
    from sql.errors import QueryTooLong
    from sql.knowledge_search import search

    if not (alert.isprintable() or not alert):
        raise CommandFailed("no alert has such a name: it has characters that cannot be printed")
    async with session.database() as database, database.connection() as connection:
        try:
            return await search(connection, text, alert=alert, result=result, since=since, limit=limit)
        except QueryTooLong as error:
            raise CommandFailed(str(error)) from None


def time_of(text: str, now: datetime) -> datetime:
    """The time that `12h` (ago), `7d` or an ISO date means, in UTC where it names no zone. Raises CommandFailed."""
    from ops.errors import CommandFailed

    try:
        if text[-1:] in _UNITS and text[:-1].isdecimal():
            return now - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandFailed(f"{text!r} is no time: write 12h, 7d, or a date such as 2026-01-31T12:00") from None


@commands.command()
def show(
    context: typer.Context,
    entry: Annotated[str, typer.Argument(help="The id of the entry: that of its operation.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Shows one entry: what was done about what, how it ended, and what people noted."""
    found = run_now(_entry(session_of(context), entry))
    if as_json:
        print_json(found)
        return
    import msgspec

    fields = msgspec.structs.asdict(found)
    del fields["action"]
    print_pairs([(name.replace("_", " "), "\n".join(value) if name == "notes" else value) for name, value in fields.items()])


async def _entry(session: Session, id: str) -> Entry:  # noqa: A002
    from ops.facts.knowledge import entry_of

    async with session.database() as database:
        return await entry_of(database, id)
