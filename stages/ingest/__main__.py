"""`python -m stages.ingest`: this stage as a process of its own."""

from ops.cli import run_stage

run_stage("ingest")
