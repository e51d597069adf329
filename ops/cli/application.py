"""The commands of `mend`, put together."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ops.cli import (
    approvals,
    configuration,
    dead,
    doctor,
    events,
    gate,
    incidents,
    knowledge,
    learn,
    playbooks,
    projections,
    replay,
    running,
    schemas,
    send,
    stop,
    stores,
    streams,
    tokens,
    trust,
)
from ops.cli.failures import INTERRUPTED, USAGE, guarded
from ops.cli.session import Session


def build() -> typer.Typer:
    """The application with all its commands."""
    application = typer.Typer(
        name="mend",
        help="Production that heals itself from its own alerts.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(_options)
    asked = (
        running,
        stop,
        streams,
        events,
        dead,
        replay,
        approvals,
        incidents,
        gate,
        playbooks,
        learn,
        trust,
        knowledge,
        tokens,
        send,
        doctor,
        stores,
        projections,
        schemas,
        configuration,
    )
    for module in asked:
        module.add_to(application)
    return application


def _options(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", help="The settings file; else MEND_CONFIG, else ./mend.toml.")] = None,
    traceback: Annotated[bool, typer.Option("--traceback", hidden=True)] = False,
) -> None:
    context.obj = Session(config)
    if traceback:
        os.environ["MEND_TRACEBACK"] = "1"


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. What goes wrong is said in one sentence on stderr."""
    return guarded(lambda: _run_command(list(sys.argv[1:] if arguments is None else arguments)))


def _run_command(arguments: Sequence[str]) -> int:
    try:
        code = typer.main.get_command(build())(list(arguments), prog_name="mend", standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    except typer.TyperException as error:
        return _usage(error)
    return code if isinstance(code, int) else 0


def _usage(error: typer.TyperException) -> int:
    """A command line that cannot be understood: one sentence and where the help is. `mend` alone shows its help."""
    from schemas.text import printable

    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "mend"
    message = printable(error.format_message())
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message)
        return USAGE
    mark = "" if message.rstrip(".").endswith("?") else "."
    print(f"mend: {message.rstrip('.')}{mark} See `{path} --help`.", file=sys.stderr)
    return USAGE
