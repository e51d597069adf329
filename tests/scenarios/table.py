"""The table of scenarios: for a terminal, and for docs/scenarios.md."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from datetime import datetime

from tests.scenarios.run import Report
from tests.scenarios.scenario import Result
from tests.scenarios.story import SETTINGS

_INTRODUCTION = """# Scenarios

Each line is one fault on a real Kubernetes control plane with simulated nodes, or on a host behind a real sshd, from the alert at
the webhook of a real `mend up` to the verified end; all of them at the same time. `make scenarios` runs them and writes this whole
page anew; every scenario is a test as well. A negative twin is a case in which the remedy of its neighbour cannot help, or must not
be tried.

Wrongly acted means: a write other than the expected one, a second side effect, a write before the signatures, or a verification that
says success while what it is about is not well, or while nothing was done that could heal it. What was done is read from the cluster
and the host: specifications, generations, revisions, UIDs of pods, field managers and annotations of everything in the scenario's
namespace, and what was run on its host, after the last scenario has ended. Every scenario is judged so, also one that did not come to
its end: that one is `missed` only when nothing wrong was done, else it is `wrongly acted`.

The seconds are those from the alert to the verified end, with these settings: {settle:g} s to settle, then a hold-down of
{hold_down:g} s in which a success is looked at again before it is told.

## What is simulated

- The nodes run no containers: what a container does is told by its image. That the pods of a lost node are not ready, and that the
  container of a Job has ended, is written by the scenario, as the node controller and the kubelet do it in life.
- What pods use is told to the control plane's autoscalers by a small server of the tests, in the place of heapster: the load that
  the scenario sets, shared by the pods that are ready. All that becomes of it is the real autoscalers' doing. Load makes no pod
  slow or unready: what heals there is that the autoscaler has the replicas that it wants, and no latency is measured.
- The hosts' sshd is real, and so are the processes of their services; systemctl is a program of the tests that starts them.

## Results
"""


def _introduction() -> str:
    verify = tomllib.loads(SETTINGS.format(admin="", limited="", shadow=""))["verify"]
    return _INTRODUCTION.format(settle=verify["settle"], hold_down=verify["hold_down"])


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
    return "\n".join([_introduction(), f"Measured on {at:%Y-%m-%d}: {summary(reports)}.", "", *head, *lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
