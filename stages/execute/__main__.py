"""One process of the stage execute: `python -m stages.execute`."""

from __future__ import annotations

from ops.cli import run_stage

run_stage("execute")
