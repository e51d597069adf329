"""`mend people`: who may come to the API, with which roles. A token is printed once; only a salted hash of it is kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.console import Json, print_rows
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from ops.tokens import Role
    from schemas.secret import Token
    from sql.database import Connection
    from sql.people import TokenRow

_COLUMNS = ("person", "roles", "id", "made_at", "made_by", "revoked_at")

commands = typer.Typer(help="Who may come to the API, with which roles.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="people")


@commands.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The person's name, as votes are to carry it.", show_default=False)],
    role: Annotated[list[str], typer.Option("--role", help="viewer, operator (signs and rejects too) or admin; may be given again.")],
) -> None:
    """Makes a token for a person and prints it: this once, for it is not kept."""
    from ops.cli.words import choice_of
    from ops.tokens import Role

    session = session_of(context)
    token = run_now(_added(session, name, [choice_of(Role, word) for word in dict.fromkeys(role)]))
    print("This is shown once: hand it over on a safe way. `mend people revoke` ends it.", file=sys.stderr)
    print(token.reveal())


@commands.command("ls")
def list_(
    context: typer.Context,
    revoked: Annotated[bool, typer.Option("--revoked", help="Those too that let nobody in any more.")] = False,
    as_json: Json = False,
) -> None:
    """Lists the tokens that let people into the API."""
    rows = [{name: getattr(row, name) for name in _COLUMNS} for row in run_now(_listed(session_of(context), revoked))]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="Nobody has a token: `mend people add NAME --role ROLE` makes one.")


@commands.command()
def revoke(
    context: typer.Context,
    named: Annotated[str, typer.Argument(metavar="NAME|ID", help="A person, or the id of one token.", show_default=False)],
) -> None:
    """Ends a token, or all tokens of a person, at once."""
    from ops.errors import CommandFailed

    ended = run_now(_revoked(session_of(context), named))
    if not ended:
        raise CommandFailed(f"no token of {named} lets anybody in: `mend people ls` lists those that do")
    print(f"revoked {', '.join(ended)}")


async def _added(session: Session, name: str, roles: Sequence[Role]) -> Token:
    from ops.cli.people import user_of_system
    from ops.clock import now
    from ops.errors import CommandFailed
    from ops.tokens import new_token, require_listed
    from sql.people import add_token

    require_listed(session.settings, name, roles)
    try:
        token, row = new_token(name, roles, at=now(), by=user_of_system())
    except ValueError as error:
        raise CommandFailed(f"{name!r} cannot be a person's name: {error}") from None
    async with session.database() as database, database.transaction() as connection:
        await add_token(connection, row)
        await _audited(connection, "token made", name, f"{row.id} for {', '.join(row.roles)}")
    return token


async def _listed(session: Session, revoked: bool) -> list[TokenRow]:
    from sql.people import list_tokens

    async with session.database() as database, database.connection() as connection:
        return await list_tokens(connection, revoked=revoked)


async def _revoked(session: Session, named: str) -> Sequence[str]:
    from ops.cli.people import user_of_system
    from ops.clock import now
    from sql.people import revoke_tokens

    async with session.database() as database, database.transaction() as connection:
        ended = await revoke_tokens(connection, named, by=user_of_system(), at=now())
        if ended:
            await _audited(connection, "token revoked", named, ", ".join(ended))
    return ended


async def _audited(connection: Connection, what: str, name: str, which: str) -> None:
    from ops.cli.people import user_of_system
    from ops.clock import now
    from schemas.identity import new_id
    from sql.audit import audit_close, audit_open

    time = now()
    id_ = new_id(time)
    await audit_open(connection, id=id_, at=time, who=f"person/{user_of_system()}", what=what, about=f"person {name}", input=which)
    await audit_close(connection, id_, state="success")
