"""`python -m stages.gate`: this stage alone, as a process."""

from __future__ import annotations

from ops.cli import run_stage

run_stage("gate")
