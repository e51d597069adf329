"""The table of scenarios: for a terminal, and for docs/scenarios.md."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tests.scenarios.run import Report
from tests.scenarios.scenario import Result

_INTRODUCTION = """# Scenarios

Each line is one fault on a real Kubernetes control plane with simulated nodes, from the alert at the webhook of a real `mend up` to
the verified end; all of them at the same time. `make scenarios` runs them and writes this page; every scenario is a test as well.
A negative twin is a case in which the remedy of its neighbour cannot help, or must not be tried.

Wrongly acted means: a write to the cluster other than the expected one, a second side effect, a write before the signatures, or a
verification that says success while the workload is not well. It is read from the cluster: specifications, generations, revisions,
UIDs of pods, field managers and annotations of everything in the scenario's namespace, after the last scenario has ended.

The seconds are those from the alert to the verified end, with these settings: 2 s to settle, then a
hold-down of 8 s in which a success is looked at again before it is told.
"""


def rows(reports: Iterable[Report]) -> list[tuple[str, str, str, str]]:
    """Scenario, result, seconds to heal, and how; those that went wrong first."""
    order = {Result.WRONG: 0, Result.MISSED: 1}
    found = []
    for one in sorted(reports, key=lambda one: order.get(one.result, 2)):
        name = f"{one.scenario.name} (twin)" if one.scenario.twin else one.scenario.name
        seconds = f"{one.seconds:.1f}" if one.seconds is not None else ""
        found.append((name, str(one.result), seconds, "; ".join((*one.wrong, one.error) if one.error else one.wrong) or one.how))
    return found


def summary(reports: Iterable[Report]) -> str:
    counts = [str(one.result) for one in reports]
    return ", ".join(f"{counts.count(str(result))} {result}" for result in Result)


def plain(reports: list[Report]) -> str:
    """For a terminal."""
    lines = [f"{result:<15} {seconds:>6}  {name}: {how}" for name, result, seconds, how in rows(reports)]
    return "\n".join([*lines, "", summary(reports)])


def page(reports: list[Report], at: datetime) -> str:
    """docs/scenarios.md."""
    lines = [f"| {name} | {result} | {seconds} | {_cell(how)} |" for name, result, seconds, how in rows(reports)]
    head = ["| Scenario | Result | Seconds to heal | How |", "|---|---|---|---|"]
    return "\n".join([_INTRODUCTION, f"Measured on {at:%Y-%m-%d}: {summary(reports)}.", "", *head, *lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
