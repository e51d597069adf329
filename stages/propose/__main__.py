"""One process of the stage propose: `python -m stages.propose`."""

from __future__ import annotations

from ops.cli import run_stage

run_stage("propose")
