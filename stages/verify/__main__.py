"""One process of the stage verify: `python -m stages.verify`."""

from __future__ import annotations

from ops.cli import run_stage

run_stage("verify")
