"""`mend config` and `mend version`: what this machine is set to."""

from __future__ import annotations

from typing import Any

import typer

from ops.cli.console import Json, print_json, print_table, shown
from ops.cli.session import session_of

commands = typer.Typer(help="The settings of this machine.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="config")
    application.command()(version)


@commands.command("show")
def show_settings(context: typer.Context, as_json: Json = False) -> None:
    """Shows every setting in force, where it comes from, and the variable that sets it; secrets are stars."""
    import msgspec

    from ops.settings.reference import in_force
    from schemas.secret import secret_shown

    loaded = session_of(context).loaded
    if as_json:
        print_json({"file": str(loaded.file) if loaded.file else None, "variables": loaded.variables, "settings": loaded.settings})
        return
    print(f"file: {loaded.file or 'none (./mend.toml is not there)'}\n")
    rows = []
    for name, value, origin, variable in in_force(loaded):
        plain: Any = msgspec.to_builtins(value, enc_hook=secret_shown)
        rows.append([name, shown(plain), origin, variable])
    print_table(rows, ["setting", "value", "from", "variable"])


def version() -> None:
    """Prints the version of Mendstream."""
    from ops.version import version_of_mendstream

    print(f"mend {version_of_mendstream()}")
