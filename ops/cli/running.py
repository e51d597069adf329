"""`mend up`, `mend demo`, and a stage as a process of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.cli.session import session_of


def add_to(application: typer.Typer) -> None:
    application.command()(up)
    application.command()(demo)
    application.command(hidden=True)(stage)


def up(
    context: typer.Context,
    stages: Annotated[list[str] | None, typer.Option("--stage", help="Run only this stage; may be given again.")] = None,
    mode: Annotated[str, typer.Option(help="shadow, assist or auto, in place of gate.mode.")] = "",
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Heal a small simulated cluster, with one healthy workload in it, in place of a real one.")
    ] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port of the API; 0 takes a free one.")] = None,
) -> None:
    """Runs the pipeline: all stages, the API, and its stores.

    Redis and Postgres are its own unless the settings name some.
    """
    from ops.up import Choices, run_up

    choices = Choices(stages=tuple(stages or ()), mode=mode, sandbox=sandbox, port=port)
    raise typer.Exit(run_up(session_of(context).loaded, choices))


def stage(context: typer.Context, name: str) -> None:
    """Runs one stage as this process, against stores that run already."""
    from ops.up import run_one

    raise typer.Exit(run_one(session_of(context).loaded, name))


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards and say how to look around.")] = False,
) -> None:
    """Shows three stories on a sandbox cluster.

    A rollback, a restart that two people sign, and a remedy that does not help.
    """
    from ops.demo.show import run_demo

    raise typer.Exit(run_demo(keep=keep))
