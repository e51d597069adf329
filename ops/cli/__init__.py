"""The command `mend`, and how a stage starts as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `mend` with the arguments of the command line and ends the process with its exit code."""
    from ops.cli.application import run

    sys.exit(run(arguments))


def run_stage(name: str) -> None:
    """Runs one stage as this process, until SIGTERM, and ends it: `python -m stages.NAME`.

    Without the command line's library, which a small process need not carry.
    """
    from ops.cli.failures import guarded

    sys.exit(guarded(lambda: _run_stage(name)))


def _run_stage(name: str) -> int:
    from ops.settings import load
    from ops.up import run_one

    return run_one(load(), name)
