"""`mend trust`: how far each kind of action is trusted, and from what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ops.cli.console import Json, Limit, print_rows
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from sql.trust import TrustRow

_COLUMNS = ("pattern", "now", "score", "successes", "failures", "rate", "approvals", "rejections", "last_by", "last_at")

commands = typer.Typer(help="How far each kind of action is trusted.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="trust")


@commands.command("ls")
def list_(context: typer.Context, limit: Limit = 100, as_json: Json = False) -> None:
    """Lists action patterns with their score as it is now, aged, and as it was earned, and how often it succeeded (95 % interval).

    From `gate.trust_threshold` on, risk drops one level.
    """
    import msgspec

    from ops.facts.rates import rate_in

    rows = [
        msgspec.structs.asdict(row) | {"now": aged} | rate_in(row.successes, row.failures, as_text=not as_json)
        for row, aged in run_now(_listed(session_of(context), limit))
    ]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="Nothing is trusted yet: trust comes from verified actions.")


async def _listed(session: Session, limit: int) -> list[tuple[TrustRow, int]]:
    from ops.clock import now
    from sql.trust import list_trust, score

    half_life = session.settings.gate.trust_half_life
    async with session.database() as database, database.connection() as connection:
        rows = await list_trust(connection, limit=limit)
        return [(row, await score(connection, row.pattern, at=now(), half_life=half_life)) for row in rows]
