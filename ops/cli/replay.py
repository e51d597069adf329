"""`mend replay`: tells a consumer group a slice of the event log again. A dry run, unless it is told to run."""

from __future__ import annotations

import re
import shlex
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.console import Json, print_json, print_rows
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from ops.replay import Progress, Replay
    from sql.replay import Counted, Slice

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d{1,6})([smhd])")
_COLUMNS = ("topic", "type", "events", "first", "last")
_TOLD_EVERY = 1000  # events


def add_to(application: typer.Typer) -> None:
    application.command()(replay)


def replay(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", help="The consumer group, such as learn.", show_default=False)],
    since: Annotated[str, typer.Option("--since", help="From this time on: 2026-01-31T12:00, or 2h, 30m, 7d ago.")] = "",
    until: Annotated[str, typer.Option("--until", help="Up to this time, in the same forms; else up to now.")] = "",
    type_: Annotated[list[str] | None, typer.Option("--type", help="Only events of this type; may be repeated.")] = None,
    topic: Annotated[list[str] | None, typer.Option("--topic", help="Only this topic of the group; may be repeated.")] = None,
    incident: Annotated[str, typer.Option("--incident", help="Only this incident, with the signals that it answers.")] = "",
    after: Annotated[str, typer.Option("--after", help="Go on after this event, where a replay was interrupted.")] = "",
    behind: Annotated[int, typer.Option("--behind", min=1, max=100_000, help="Wait while more events than this wait for any group.")] = 500,
    run: Annotated[bool, typer.Option("--run", help="Do it; else it is only told what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Feeds events of the past to one consumer group, as they were, in the order in which they were told.

    Nothing is done again: what a stage decided then it tells again, and what it did is in its ledgers. No other group sees them.
    """
    from ops.clock import now
    from ops.replay import chosen

    time, session = now(), session_of(context)
    past = chosen(
        to,
        types=tuple(type_ or ()),
        topics=tuple(topic or ()),
        incident=incident,
        since=_time(since, time),
        until=_time(until, time) or time,
        after=after,
        forgotten=time - timedelta(seconds=session.settings.archive.outputs_kept),
    )
    if run:
        _run(session, to, past, behind, as_json=as_json)
        return
    rows = run_now(_previewed(session, past))
    _print_preview(rows, to, past, as_json=as_json)


def _time(text: str, now: datetime) -> datetime | None:
    """A time of day as it is given, in UTC where it names no zone, or so long ago. Raises CommandFailed."""
    from ops.errors import CommandFailed

    if not text:
        return None
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(f"{text!r} is no time: expected 2026-01-31T12:00:00, or how long ago, such as 90s, 30m, 2h or 7d") from None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


async def _previewed(session: Session, past: Slice) -> list[Counted]:
    from ops.replay import preview

    async with session.database() as database:
        return await preview(database, past)


def _print_preview(rows: list[Counted], group: str, past: Slice, *, as_json: bool) -> None:
    import msgspec

    plain: list[dict[str, Any]] = [msgspec.structs.asdict(row) for row in rows]
    command = shlex.join(_words(group, past))
    if as_json:
        total = sum(row.events for row in rows)
        print_json({"dry_run": True, "to": group, "events": total, "types": plain, "run": command})
        return
    print_rows(plain, _COLUMNS, as_json=False, empty="The event log has no such event that this group reads.")
    if rows:
        first, last = min(row.first for row in rows), max(row.last for row in rows)
        print(f"\n{sum(row.events for row in rows)} events for {group}, from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC.")
        if any(row.topic == "timers" for row in rows):
            print("Timers among them were due then: each is proven by its stage, and one that has done its work does nothing.")
        print(f"Nothing was done. To do it:\n  {command}")


def _words(group: str, past: Slice, *, after: str = "") -> list[str]:
    """The command that feeds this very slice."""
    words = ["mend", "replay", "--to", group]
    if past.since is not None:
        words += ["--since", past.since.isoformat()]
    if past.until is not None:
        words += ["--until", past.until.isoformat()]
    for kind in past.types:
        words += ["--type", kind]
    for topic in past.topics:
        words += ["--topic", topic]
    if past.incident:
        words += ["--incident", past.incident]
    if after or past.after:
        words += ["--after", after or past.after]
    return [*words, "--run"]


def _run(session: Session, group: str, past: Slice, behind: int, *, as_json: bool) -> None:
    """Feeds the slice; however it ends early, says how it is continued."""
    kept: list[Replay] = []
    try:
        progress = run_now(_fed(session, group, past, behind, kept, quiet=as_json))
    except BaseException:
        if kept and kept[0].progress.fed < kept[0].progress.events:
            done = kept[0].progress
            left = shlex.join(_words(group, past, after=done.last))
            print(f"{done.fed} of {done.events} events were fed, the last one {done.last or 'none'}. To go on:\n  {left}", file=sys.stderr)
        raise
    if as_json:
        print_json({"dry_run": False, "to": group, "events": progress.fed, "last": progress.last, "audit": kept[0].id})
        return
    print(f"{progress.fed} events were fed to {group}{f', the last one {progress.last}' if progress.fed else ''}.")


async def _fed(session: Session, group: str, past: Slice, behind: int, kept: list[Replay], *, quiet: bool) -> Progress:
    from ops.cli.people import user_of_system
    from ops.clock import now
    from ops.replay import Replay

    async with session.database() as database, session.bus() as bus:
        who = f"person/{user_of_system()}"
        tell = _silent if quiet else _tell
        made = Replay(bus, database, group, past, who=who, clock=now, most_behind=behind, tell=tell)
        kept.append(made)
        return await made.run()


def _silent(_: Progress) -> None:
    """For a program that reads the answer."""


def _tell(progress: Progress) -> None:
    if progress.silent:
        print(
            f"No process of {progress.waits_for} asks for entries: does its process run? `mend streams ls` shows the groups.",
            file=sys.stderr,
        )
    elif progress.waits_for:
        print(f"{progress.fed} of {progress.events}: waiting for {progress.waits_for}, which is behind", file=sys.stderr)
    elif progress.fed % _TOLD_EVERY == 0:
        print(f"{progress.fed} of {progress.events}", file=sys.stderr)
