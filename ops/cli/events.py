"""`mend event` and `mend trace`: one event, and everything that came of an alert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.console import Json, one_line, print_json, print_pairs
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from bus.connect import Bus
    from ops.cli.story import Entry

_RECENT = 2000  # entries of each stream that the archive may lag behind


def add_to(application: typer.Typer) -> None:
    application.command()(event)
    application.command()(trace)


def event(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The id of the event.", show_default=False)],  # noqa: A002
    as_json: Json = False,
) -> None:
    """Shows one event, from the archive or from its stream."""
    import msgspec

    from ops.cli.story import record_of

    record = record_of(run_now(_found(session_of(context), id)))
    if as_json:
        print_json(record)
        return
    body = record.pop("body")
    print_pairs(record.items())
    print()
    print(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())


async def _found(session: Session, id: str) -> Entry:  # noqa: A002
    from bus.inspect import find
    from ops.cli.story import entry_logged, entry_of
    from ops.errors import CommandFailed
    from schemas.identity import is_identifier
    from sql.event_log import find_event

    if not is_identifier(id):
        raise CommandFailed(f"{id!r} is not an event id: they are the text form of a UUID, as `mend streams tail` shows them")
    async with session.database() as database, database.connection() as connection:
        row = await find_event(connection, id)
    if row is not None:
        return entry_logged(row, place=f"archive, {row.partition}/{row.entry}")
    async with session.bus() as bus:
        found = await find(bus, id)
    if found is None:
        raise CommandFailed(f"there is no event {id} in the archive or in the streams")
    return entry_of(found.event, found.body, topic=found.topic, place=f"stream, {found.partition}/{found.entry}", at=found.at)


def trace(
    context: typer.Context,
    incident: Annotated[str, typer.Argument(help="The id of the incident.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Shows cause and effect of an incident as a tree.

    With the time between each cause and its effect. Of more than 5,000 events some in the middle are left out, and a line says how many;
    `mend streams tail` has them.
    """
    from ops.cli.story import line_of, record_of, tree_of
    from ops.errors import CommandFailed

    nodes = list(tree_of(run_now(_events_of(session_of(context), incident))))
    if not nodes:
        raise CommandFailed(f"there is no event of an incident {incident}: `mend incidents ls` lists them")
    if as_json:
        print_json([{**record_of(node.entry), "seconds": node.seconds, "depth": node.depth} for node in nodes])
        return
    width = max(len(node.branch) + len(node.entry.type) for node in nodes)
    told_by = max(len(node.entry.by) for node in nodes)
    for node in nodes:
        print(one_line(line_of(node, width, told_by)))


async def _events_of(session: Session, incident: str) -> list[Entry]:
    """The events of an incident from the archive, and from the streams what the archive does not have yet."""
    from ops.cli.story import entry_left_out, entry_logged
    from sql.event_log import events_of_incident, logged

    async with session.bus() as bus, session.database() as database, database.connection() as connection:
        log = await events_of_incident(connection, incident)
        found = [entry_logged(row, place="archive") for row in log.events]
        recent = await _recent(bus, incident)
        known = {entry.id for entry in found} | await logged(connection, [entry.id for entry in recent])
        found += [entry for entry in recent if entry.id not in known]
        found += await _causes(bus, {entry.cause for entry in found if entry.cause} - {entry.id for entry in found})
    if log.left_out and log.since:
        found.append(entry_left_out(incident, log.left_out, log.since))
    return found


async def _recent(bus: Bus, incident: str) -> list[Entry]:
    from bus.inspect import tail
    from ops.cli.story import entry_of
    from schemas.events import TOPICS

    return [
        entry_of(row.event, row.body, topic=row.topic, place="stream", at=row.at)
        for topic in TOPICS
        async for row in tail(bus, topic, last=_RECENT, incident=incident)
        if row.event is not None
    ]


async def _causes(bus: Bus, ids: set[str]) -> list[Entry]:
    """What the events answer and does not belong to the incident itself, such as the signal that opened it."""
    from bus.inspect import find
    from ops.cli.story import entry_of
    from schemas.identity import is_identifier

    found = [await find(bus, id_) for id_ in ids if is_identifier(id_)]
    return [entry_of(row.event, row.body, topic=row.topic, place="stream", at=row.at) for row in found if row is not None and row.event]
