"""Which group reads which topics: in one place, so that who trims the streams or watches the groups needs to load no stage."""

from __future__ import annotations

READS: dict[str, tuple[str, ...]] = {
    "ingest": ("signals", "timers"),
    "propose": ("incidents", "verifications", "failures"),
    "gate": ("proposals", "votes", "timers", "incidents", "executions"),
    "execute": ("decisions", "timers"),
    "verify": ("executions", "timers"),
    "learn": ("verifications", "executions", "decisions", "incidents", "feedback"),
    "failure_watch": ("executions", "verifications", "dead", "decisions", "failures", "incidents", "timers"),
    "notify": ("incidents", "decisions", "executions", "verifications", "failures", "lessons", "dead"),
}
