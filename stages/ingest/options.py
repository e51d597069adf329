"""What can be set about incidents."""

from __future__ import annotations

import msgspec

from schemas.numbers import Count, Seconds, Wait


class IngestOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How signals become incidents, and when these end."""

    close_after: Wait = 600.0
    """Seconds that an incident stays resolved before it is closed."""

    owner_timeout: Seconds = 2.0
    """Seconds that a cluster may take to say which workload owns a pod; after that the pod's name has to do."""

    owner_memory: Wait = 60.0
    """Seconds for which the answer is remembered; for a sixth of it, a cluster that did not answer is not asked again."""

    default_hosts: str = "hosts"
    """The host group of an alert that names a host and has no label `cluster`."""

    host_jobs: tuple[str, ...] = ("node", "node-exporter", "node_exporter", "windows-exporter", "windows_exporter")
    """Values of the label `job` whose alerts speak of the machine: their label `pod` names only the exporter."""

    timeline_signals: Count = 20
    """How many signals of one incident get a line of their own in its timeline; a new alert or a worse severity always does."""
