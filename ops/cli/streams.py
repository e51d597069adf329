"""`mend streams`: what flows, how far each group is, and what it holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.console import Json, Limit, duration, one_line, print_json, print_rows, shown
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from bus.inspect import EntryRow

Topic = Annotated[str, typer.Argument(help="The topic, such as incidents.", show_default=False)]
_RECENT = 2000  # entries of each partition among which those of one type or incident are looked for
_COLUMNS = ("partition", "topic", "length", "group", "lag", "pending", "oldest", "consumers")

commands = typer.Typer(help="What flows, how far each group is, and what it holds.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="streams")


@commands.command("ls")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """Lists streams and groups: length, lag, pending, age of the oldest, consumers."""
    rows, waiting = run_now(_listed(session_of(context)))
    print_rows(rows, _COLUMNS, as_json=as_json, empty="There is no stream yet.")
    if waiting and not as_json:
        print(f"\n{waiting}")


async def _listed(session: Session) -> tuple[list[dict[str, Any]], str]:
    from bus.inspect import GroupRow, delayed, streams

    async with session.bus() as bus:
        found, later = await streams(bus), await delayed(bus)
    none = GroupRow(name="", lag=0, pending=0, oldest=0.0, consumers=0)
    rows = [
        {
            "partition": row.partition,
            "topic": row.topic,
            "length": row.length,
            "group": group.name,
            "lag": group.lag,
            "pending": group.pending,
            "oldest": duration(group.oldest) if group.oldest else "",
            "oldest_seconds": group.oldest,
            "consumers": group.consumers,
        }
        for row in found
        for group in (row.groups or (none,))
    ]
    events, soonest = sum(row.events for row in later), min((row.soonest for row in later if row.soonest), default=None)
    return rows, f"{events} events wait for their time, the first until {shown(soonest)} UTC" if soonest else ""


@commands.command()
def tail(
    context: typer.Context,
    topic: Topic,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    type_: Annotated[str, typer.Option("--type", help="Only events of this type.")] = "",
    incident: Annotated[str, typer.Option("--incident", help="Only events of this incident.")] = "",
    last: Annotated[int, typer.Option("--last", "-n", min=0, max=10_000, help="How many of the newest to begin with.")] = 10,
    as_json: Json = False,
) -> None:
    """Shows the newest events of a topic, also those that its stream no longer holds; with --json one object a line."""
    from ops.cli.words import known_word
    from schemas.events import EVENT_TYPES, TOPICS

    known_word(topic, list(TOPICS), "topic")
    if type_:
        known_word(type_, list(EVENT_TYPES), "event type")
    run_now(_tailed(session_of(context), topic, last=last, follow=follow, kind=type_, incident=incident, as_json=as_json))


async def _tailed(session: Session, topic: str, *, last: int, follow: bool, kind: str, incident: str, as_json: bool) -> None:
    """What the streams have, and before it what only the event log still has: a stream loses what every group is done with."""
    from bus.inspect import follow_from, in_order, newest
    from schemas.codec import peek

    async with session.bus() as bus:
        among = max(last, _RECENT) if last and (kind or incident) else last
        held, ends = await newest(bus, topic, last=among, kind=kind, incident=incident)
        logged = await _logged(session, topic, last, kind, incident) if last else []
        known = {peek(row.body)[1] for row in held if not row.only}
        trimmed = [row for row in logged if peek(row.body)[1] not in known]
        told = in_order([*held, *trimmed])[-last:] if last else []
        for row in told:
            _print_entry(row, as_json=as_json)
        if last and not told and not follow:
            print(f"No event {'of this kind ' if kind or incident else ''}is in {topic}, nor in the event log.", file=sys.stderr)
        if follow:
            already = {(row.partition, row.entry) for row in trimmed}  # what came, and was stored, between the two looks
            async for row in follow_from(bus, topic, ends, kind=kind, incident=incident):
                if (row.partition, row.entry) not in already:
                    _print_entry(row, as_json=as_json)


async def _logged(session: Session, topic: str, last: int, kind: str, incident: str) -> list[EntryRow]:
    """The newest events of the event log; none, and a sentence about it, when Postgres is away."""
    from bus.inspect import entry_row
    from sql.errors import StoreUnavailable
    from sql.event_log import newest

    try:
        async with session.database() as database, database.connection() as connection:
            rows = await newest(connection, topic, last, kind=kind, incident=incident)
    except StoreUnavailable as error:
        print(f"only what Redis still holds is shown, for the event log is away: {error}", file=sys.stderr)
        return []
    return [entry_row(row.partition, topic, row.entry, row.body.encode()) for row in rows]


def _print_entry(row: EntryRow, *, as_json: bool) -> None:
    from ops.cli.story import entry_of, record_of, summary_of

    entry = entry_of(row.event, row.body, topic=row.topic, place=f"{row.partition}/{row.entry}", at=row.at)
    if as_json:
        print_json({**record_of(entry), "only": row.only}, indent=0)
        return
    time = f"{row.at:%H:%M:%S}.{row.at.microsecond // 1000:03}Z"
    again = f"replayed for {row.only}  " if row.only else ""
    line = f"{time}  {entry.type:<22}  {entry.by:<20}  {entry.id}  {again}{summary_of(row.event)}".rstrip()
    print(one_line(line), flush=True)


@commands.command()
def pending(
    context: typer.Context,
    topic: Topic,
    group: Annotated[str, typer.Argument(help="The consumer group, such as gate.", show_default=False)],
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Lists what a group was given and has not settled, oldest first."""
    import msgspec

    from ops.cli.words import known_word
    from ops.wiring import topology
    from schemas.events import TOPICS

    known_word(topic, list(TOPICS), "topic")
    known_word(group, [name for name, topics in topology().items() if topic in topics], f"group that reads {topic}")
    rows = [msgspec.structs.asdict(row) for row in run_now(_pending(session_of(context), topic, group, limit))]
    columns = ("partition", "entry", "consumer", "idle", "deliveries")
    print_rows(rows, columns, as_json=as_json, empty=f"{group} holds nothing of {topic}.")


async def _pending(session: Session, topic: str, group: str, limit: int) -> list[Any]:
    from bus.inspect import pending as held

    async with session.bus() as bus:
        return list(await held(bus, topic, group, limit))
