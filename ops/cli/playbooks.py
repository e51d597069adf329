"""`mend playbooks`: known remedies, their versions, and who lets them propose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.console import Json, Limit, print_json, print_pairs, print_rows
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from ops.facts.learning import Farther
    from sql.playbook_sources import SourceRow
    from sql.playbooks import PlaybookRow, PlaybookStatus

Name = Annotated[str, typer.Argument(help="The name of the playbook.", show_default=False)]
Files = Annotated[list[Path], typer.Argument(help="YAML files, or folders of them.", show_default=False)]
Version = Annotated[int, typer.Option("--version", min=0, help="The version; else the newest.", show_default=False)]
As = Annotated[str | None, typer.Option("--as", help="Do it as this person; the token comes from MEND_PERSON_TOKEN or is asked for.")]
_COLUMNS = ("name", "version", "status", "mode", "owner", "trust", "successes", "failures", "rate", "title")

commands = typer.Typer(help="Known remedies: files, versions, and which may propose.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="playbooks")


@commands.command("ls")
def list_(
    context: typer.Context,
    status: Annotated[str, typer.Option(help="draft, approved, deprecated, or all.")] = "all",
    limit: Limit = 1000,
    as_json: Json = False,
) -> None:
    """Lists playbooks by their newest version, the most trusted first."""
    from ops.cli.words import choices_of
    from sql.playbooks import PlaybookStatus

    statuses = choices_of(PlaybookStatus, status)
    rows = run_now(_listed(session_of(context), statuses, limit))
    print_rows(
        [line_of(row, as_text=not as_json) for row in rows],
        _COLUMNS,
        as_json=as_json,
        empty="There is none: `mend playbooks import --builtin` brings some.",
    )


async def _listed(session: Session, statuses: Any, limit: int) -> list[PlaybookRow]:
    from sql.playbooks import list_playbooks

    async with session.database() as database, database.connection() as connection:
        return await list_playbooks(connection, statuses=statuses, limit=limit)


def line_of(row: PlaybookRow, *, as_text: bool = False) -> dict[str, Any]:
    """One playbook as a row of a table: `rate` is how often what it proposed succeeded, and in which interval (95 %) the true rate lies."""
    from ops.facts.rates import rate_in

    return {
        "name": row.name,
        "version": row.version,
        "status": row.status.value,
        "mode": row.mode.value if row.mode else "",
        "owner": row.owner,
        "trust": row.trust,
        "confidence": row.confidence,
        "successes": row.successes,
        "failures": row.failures,
        **rate_in(row.successes, row.failures, as_text=as_text),
        "title": row.playbook.title,
        "changed_at": row.changed_at,
        "changed_by": row.changed_by,
    }


@commands.command()
def show(context: typer.Context, name: Name, version: Version = 0, as_json: Json = False) -> None:
    """Shows one version, how it did, and what other versions there are."""
    from schemas.playbook_file import write_playbook

    row, versions, behind, reach = run_now(_shown(session_of(context), name, version))
    if as_json:
        shown = {"playbook": row.playbook, "versions": [line_of(one) for one in versions], "behind": behind, "reach": reach}
        print_json(line_of(row) | shown)
        return
    others = [f"{one.version} {one.status.value}, by {one.changed_by} at {one.changed_at:%Y-%m-%d %H:%M}Z" for one in versions]
    print_pairs(
        [
            *line_of(row, as_text=True).items(),
            ("last use", row.last_at),
            ("reach", _reached(reach)),
            ("versions", "\n".join(others)),
            ("learned from", "\n".join(f"{one.incident} at {one.at:%Y-%m-%d %H:%M}Z: {one.what or one.title}" for one in behind)),
            ("file", write_playbook(row.playbook)),
        ]
    )


def _reached(reach: Farther) -> str:
    """`farther than foreseen in 1 of 4 that were measured, 25% (5% to 70%)`; empty where nothing was done."""
    from schemas.intervals import rate_of

    sure = f", {rate_of(reach.farther, reach.measured)}" if reach.measured else ""
    return f"farther than foreseen in {reach.farther} of {reach.measured} that were measured{sure}" if reach.operations else ""


async def _shown(session: Session, name: str, version: int) -> tuple[PlaybookRow, list[PlaybookRow], list[SourceRow], Farther]:
    """One version, all versions, the successes that it was learned from, and how far what it did reached."""
    from ops.facts.learning import farther_of
    from sql.declarations import reach_of
    from sql.playbook_sources import sources_of

    row, versions = await _found(session, name, version)
    async with session.database() as database, database.connection() as connection:
        return row, versions, await sources_of(connection, name), farther_of((await reach_of(connection, [name]))[name])


async def _found(session: Session, name: str, version: int) -> tuple[PlaybookRow, list[PlaybookRow]]:
    from ops.errors import CommandFailed
    from sql.playbooks import versions_of

    async with session.database() as database, database.connection() as connection:
        versions = await versions_of(connection, name)
    row = next((one for one in versions if version in (0, one.version)), None)
    if row is None:
        raise CommandFailed(f"there is no playbook {name}{f' of version {version}' if version else ''}: `mend playbooks ls` lists them")
    return row, versions


@commands.command()
def export(context: typer.Context, name: Name, version: Version = 0) -> None:
    """Prints one version as the YAML file that it is."""
    from schemas.playbook_file import write_playbook

    row, _ = run_now(_found(session_of(context), name, version))
    print(write_playbook(row.playbook), end="")


@commands.command("import")
def import_(
    context: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="YAML files, or folders of them.", show_default=False)] = None,
    builtin: Annotated[bool, typer.Option("--builtin", help="The catalogue that comes with Mendstream, too.")] = False,
    approve: Annotated[bool, typer.Option("--approve", help="Approve them at once.")] = False,
    person: As = None,
    as_json: Json = False,
) -> None:
    """Keeps playbooks as new versions: drafts, until somebody approves them. One that says what the newest version says is left out."""
    from ops.catalogue import built_in, read_all, texts_of
    from ops.cli.people import authenticate
    from ops.errors import CommandFailed

    if not files and not builtin:
        raise CommandFailed("nothing is named to import: name files, or --builtin for the catalogue that comes with Mendstream")
    playbooks = read_all([*texts_of(files or []), *(built_in() if builtin else [])])
    session = session_of(context)
    rows = run_now(_imported(session, playbooks, approve=approve, by=authenticate(session.settings, person)))
    if as_json:
        print_json([line_of(row) for row in rows])
        return
    print("\n".join(f"{row.status.value}: {row.name} version {row.version}" for row in rows) or "nothing is new")


async def _imported(session: Session, playbooks: Any, *, approve: bool, by: str) -> list[PlaybookRow]:
    from ops.catalogue import import_one, move
    from ops.clock import now
    from sql.playbooks import PlaybookStatus

    rows = []
    async with session.database() as database, database.transaction() as connection:
        for playbook in playbooks:
            row = await import_one(connection, playbook, by=by, at=now())
            if row is not None and approve:
                row = await move(connection, row.name, row.version, PlaybookStatus.APPROVED, by=by, at=now())
            rows += [row] if row is not None else []
    return rows


@commands.command()
def approve(context: typer.Context, name: Name, version: Version = 0, person: As = None, as_json: Json = False) -> None:
    """Lets a version, newer or older, propose in place of the one that did."""
    from sql.playbooks import PlaybookStatus

    _move(session_of(context), name, version, PlaybookStatus.APPROVED, person, as_json=as_json)


@commands.command()
def deprecate(context: typer.Context, name: Name, version: Version = 0, person: As = None, as_json: Json = False) -> None:
    """Lets a version, the approved one where none is named, propose nothing any more."""
    from sql.playbooks import PlaybookStatus

    _move(session_of(context), name, version, PlaybookStatus.DEPRECATED, person, as_json=as_json)


def _move(session: Session, name: str, version: int, status: PlaybookStatus, person: str | None, *, as_json: bool) -> None:
    from ops.cli.people import authenticate

    row = run_now(_moved(session, name, version, status, by=authenticate(session.settings, person)))
    if as_json:
        print_json(line_of(row))
    else:
        print(f"{row.name} version {row.version} is {row.status.value}")


async def _moved(session: Session, name: str, version: int, status: PlaybookStatus, *, by: str) -> PlaybookRow:
    from ops.catalogue import move
    from ops.clock import now

    async with session.database() as database, database.transaction() as connection:
        return await move(connection, name, version, status, by=by, at=now())


@commands.command()
def check(files: Files, as_json: Json = False) -> None:
    """Checks files; every fault is told as FILE:LINE:COLUMN: what is wrong. Needs no store."""
    from ops.catalogue import texts_of
    from schemas.playbook_file import PlaybookWrong, read_playbook

    texts, faults = texts_of(files), []
    for file, text in texts:
        try:
            read_playbook(text, file)
        except PlaybookWrong as wrong:
            faults += wrong.faults
    if as_json:
        print_json({"files": len(texts), "faults": faults})
    else:
        print("\n".join(str(fault) for fault in faults) or f"{len(texts)} files, nothing is wrong")
    if faults:
        raise typer.Exit(1)


@commands.command("test")
def try_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The YAML file of a playbook.", show_default=False)],
    payload: Annotated[Path, typer.Argument(help="A file with Alertmanager's webhook payload.", show_default=False)],
    evidence: Annotated[Path | None, typer.Option(help="What was seen, as `mend approvals show ID --json` prints it.")] = None,
    as_json: Json = False,
) -> None:
    """Says how much a playbook fits an alert, from what, and what it would propose. Needs no store and looks at nothing."""
    from ops.cli.playbook_trial import pages, try_out

    trial = try_out(session_of(context).settings, file, payload, evidence)
    if as_json:
        print_json(trial)
    else:
        print_pairs(pages(trial))
    if not trial.fits:
        raise typer.Exit(1)


@commands.command()
def schema() -> None:
    """Prints the JSON Schema of playbooks, for editors."""
    from ops.cli.schemas import schema_of
    from schemas.playbook import Playbook

    print_json(schema_of(Playbook))
