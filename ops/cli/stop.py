"""`mend stop` and `mend resume`: nothing is proposed, approved or begun any more, until somebody lets it go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.console import Json, one_line, print_json
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from sql.switch import InFlight, SwitchState

_LISTED = 20
As = Annotated[str | None, typer.Option("--as", help="As this person; the token comes from MEND_PERSON_TOKEN or is asked for.")]


def add_to(application: typer.Typer) -> None:
    application.command()(stop)
    application.command()(resume)


def stop(
    context: typer.Context,
    reason: Annotated[str, typer.Option("--reason", "-m", help="What the others are told.", show_default=False)],
    person: As = None,
    as_json: Json = False,
) -> None:
    """Stops everything: nothing is proposed, approved or begun until `mend resume`. Whoever may run this may stop.

    Alerts are still taken, what was done is still verified, and people are still told.
    """
    from ops.cli.people import authenticate, user_of_system

    session = session_of(context)
    by = user_of_system() if person is None else authenticate(session.settings, person)
    state, rest = run_now(_stopped(session, by, reason))
    if as_json:
        print_json({"switch": state, "in_flight": rest})
        return
    print(f"{one_line(state.said, 900)}. From now on nothing is proposed, approved or begun.")
    for line in lines_of(rest):
        print(one_line(line, 900))
    print("`mend resume` lets it go on.")


def resume(context: typer.Context, person: As = None, as_json: Json = False) -> None:
    """Lets a stopped Mendstream go on. What was approved before the stop is not run; it must be proposed and approved anew."""
    from ops.cli.people import authenticate

    session = session_of(context)
    before, after = run_now(_resumed(session, authenticate(session.settings, person)))
    if as_json:
        print_json({"was_stopped": before.stopped, "switch": after})
    elif before.stopped:
        print(
            one_line(f"resumed by {after.by}. Incidents that came meanwhile are looked at now; what was approved before is not run.", 900)
        )
    else:
        print("nothing was stopped: nothing to resume")


def lines_of(rest: InFlight) -> Iterator[str]:
    """What becomes of everything that had not ended, each in a line."""
    for operation in rest.operations[:_LISTED]:
        yield f"  {operation.said}"
    if len(rest.operations) > _LISTED:
        yield f"  and {len(rest.operations) - _LISTED} operations more"
    if rest.approved:
        yield f"  {rest.approved} approved and not begun: not run any more, also not after `mend resume`"
    if rest.waiting:
        yield f"  {rest.waiting} waiting for signatures: none counts before `mend resume`, a rejection does; the time to sign goes on"


async def _stopped(session: Session, by: str, reason: str) -> tuple[SwitchState, InFlight]:
    from ops.clock import now
    from sql.switch import in_flight, stop

    async with session.database() as database:
        async with database.transaction() as connection:
            state = await stop(connection, by=by, reason=reason, at=now())
        async with database.connection() as connection:
            return state, await in_flight(connection, at=now())


async def _resumed(session: Session, by: str) -> tuple[SwitchState, SwitchState]:
    from ops.clock import now
    from sql.switch import resume, state

    async with session.database() as database, database.transaction() as connection:
        before = await state(connection)
        return before, await resume(connection, by=by, at=now()) if before.stopped else before
