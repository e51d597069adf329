"""`mend learn`: what was learned, and what people say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.advice import recommended, tried
from ops.cli.console import Json, print_json, print_pairs, print_rows
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from ops.facts.learning import CriticRecord, ProblemAdvice, Records, SourceRecord, Summary
    from ops.feedback import Receipt

As = Annotated[str | None, typer.Option("--as", help="Say it as this person; the token comes from MEND_PERSON_TOKEN or is asked for.")]
Key = Annotated[
    str,
    typer.Argument(
        help='The id of an incident, a target as CLUSTER/NAMESPACE/KIND/NAME, or an alert as "ALERT on CLUSTER/NAMESPACE/KIND/NAME".',
        show_default=False,
    ),
]

commands = typer.Typer(help="What was learned, and what people say of it.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="learn")


@commands.command()
def summary(context: typer.Context, key: Key, as_json: Json = False) -> None:
    """Sums up what was tried for a problem: insufficient under 3 attempts, learning under 10, then excellent from 80 %, else sufficient."""
    found = run_now(_summary(session_of(context), key))
    if as_json:
        print_json(found)
        return
    from schemas.intervals import rate_of

    print_pairs(
        [
            ("problem", found.key),
            ("status", found.status.value),
            ("attempts", found.attempts),
            ("rate", str(rate_of(found.successes, found.attempts))),
            ("actions", "\n".join(tried(one) for one in found.actions) or "none"),
            ("best", found.best.verb if found.best else "not known: nothing that healed was tried 3 times"),
        ]
    )


async def _summary(session: Session, key: str) -> Summary:
    from ops.facts.learning import summary_of

    async with session.database() as database:
        return await summary_of(database, key)


@commands.command()
def recommend(context: typer.Context, key: Key, as_json: Json = False) -> None:
    """Says what has mended a problem before, from at least 5 uses with 60 % success, and how sure that is."""
    found = run_now(_advice(session_of(context), key))
    if as_json:
        print_json(found)
        return
    print_pairs([("problem", found.key), ("recommended", "\n".join(recommended(found.advice)) or "nothing is known, and nothing is usual")])


async def _advice(session: Session, key: str) -> ProblemAdvice:
    from ops.facts.learning import advice_about

    async with session.database() as database:
        return await advice_about(database, key)


@commands.command()
def sources(context: typer.Context, as_json: Json = False) -> None:
    """Tells how often what a source took to be wrong was borne out, and how often a critic was right; the rate is of what is known."""
    found = run_now(_records(session_of(context)))
    if as_json:
        print_json(found)
        return
    lines = [_line(f"{one.source} {one.provider}".strip(), one) for one in found.sources]
    lines += [_line(f"critic of {one.provider} that {one.critic.value}", one) for one in found.critics]
    print_rows(
        lines,
        ("source", "right", "wrong", "unknown", "rate"),
        as_json=False,
        empty="Nothing is known yet: no action that was proposed has been verified.",
    )


def _line(name: str, record: SourceRecord | CriticRecord) -> dict[str, Any]:
    from ops.facts.rates import rate_in

    counts = {"right": record.right, "wrong": record.wrong, "unknown": record.unknown}
    return {"source": name} | counts | rate_in(record.right, record.wrong, as_text=True)


async def _records(session: Session) -> Records:
    from ops.facts.learning import records_of

    async with session.database() as database:
        return await records_of(database)


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
    from ops.clock import now
    from ops.feedback import SuggestionBox
    from stages.proofs import ProofKeys

    keys = ProofKeys(votes_key_of(session).reveal().encode())
    origin = f"cli/{platform.node() or 'host'}"
    async with session.database() as database, session.bus() as bus:
        box = SuggestionBox(database, bus, keys, by=origin, clock=now)
        return await box.give(incident, rating, person=person, origin=origin, note=note, instead=instead)
