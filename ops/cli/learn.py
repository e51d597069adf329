"""`mend learn`: what was learned, and what people say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.console import Json, print_json
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from ops.feedback import Receipt

As = Annotated[str | None, typer.Option("--as", help="Say it as this person; the token comes from MEND_PERSON_TOKEN or is asked for.")]

commands = typer.Typer(help="What was learned, and what people say of it.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="learn")


@commands.command()
def feedback(
    context: typer.Context,
    incident: Annotated[str, typer.Argument(help="The id of the incident.", show_default=False)],
    rating: Annotated[int, typer.Option(min=1, max=5, help="1 did harm, 3 moves nothing, 5 was just right.", show_default=False)],
    note: Annotated[str, typer.Option("--note", "-m", help="Why; kept and shown with the incident.")] = "",
    override: Annotated[str, typer.Option(help="What was done instead, by hand.")] = "",
    person: As = None,
    as_json: Json = False,
) -> None:
    """Rates how an incident was handled; the newest rating of a person counts."""
    from ops.cli.people import authenticate

    session = session_of(context)
    name = authenticate(session.settings, person)
    receipt = run_now(_given(session, incident, rating, person=name, note=note, instead=override))
    if as_json:
        print_json(receipt)
    else:
        print(receipt.said)


async def _given(session: Session, incident: str, rating: int, *, person: str, note: str, instead: str) -> Receipt:
    import platform

    from ops.cli.votes import votes_key_of
    from ops.feedback import SuggestionBox
    from ops.wiring import now
    from stages.proofs import ProofKeys

    keys = ProofKeys(votes_key_of(session).reveal().encode())
    origin = f"cli/{platform.node() or 'host'}"
    async with session.database() as database, session.bus() as bus:
        box = SuggestionBox(database, bus, keys, by=origin, clock=now)
        return await box.give(incident, rating, person=person, origin=origin, note=note, instead=instead)
