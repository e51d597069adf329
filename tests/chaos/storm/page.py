"""docs/reliability.md: the newest storm as it was measured, and what was looked at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ops.wiring import PROCESSES
from tests.bench.ground import commit, quantile
from tests.bench.table import grid
from tests.chaos.storm.cast import SPARED, WARM, growth
from tests.chaos.storm.judgement import MOST_GROWTH, Judgement, told
from tests.chaos.storm.run import Storm
from tests.chaos.storm.stores import POSTGRES, REDIS

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
_PLACE = re.compile(r"(?<![\w)])/+\w[\w.-]*(?:/[\w.-]+)*")
"""A folder or a file of this machine, which is on no page."""
_INTRODUCTION = """# Reliability, as measured

`make chaos` runs all of Mendstream, each stage as a process of its own, on a Redis with its append-only file and a Postgres, posts
alerts over HTTP, and kills any process and both stores by SIGKILL, again and again, by a seed. What is killed is started again within
two seconds, as an init system would, on the same files. People sign what waits and reject some of it. What is no event at all is
appended to the streams. Afterwards every alert is resolved, it is left in peace, and then every question below is asked of the stores,
the event log and the effects.

Most targets are those of a world that does nothing but append one line for each effect to a file, outside of both stores; some heal,
some refuse, some answer often that they are away and some until they were given up once, some do not heal, of some nobody can tell
afterwards whether they were restarted, and whoever looks at some meets a bug. Where `MEND_TEST_KUBECONFIG` names a control plane, some
are Deployments on it, whose restarts its API server counts.

Not in it: a machine or a disk that is lost (what Redis had not yet written goes with it, see [guarantees.md](guarantees.md)), a network
that splits, a Redis Cluster, a language model. Timings are those of the settings of the storm, shorter than the defaults where these
would only make it wait: a lost worker is known after 6 s, not 30; what Redis lost is looked for after 6 s, not 30; a success is held
for 1 s, not 120. The valves of the gate (`cooldown`, `storm`) are set so high that they never shut: with the defaults most of such a
storm would be put to people, and little would be done that could be lost or doubled. People are told of each of 40 incidents that fail
of one cause, not of 3, for only these are repaired.

A storm in which something never happened proves nothing about it: one without a failed execution, a repair, an operation of which nobody
can tell, a dead letter, a rejection, a blow on each kind of process and on each store, or, where there is a control plane, an effect on it,
does not hold.
"""


def page(storm: Storm, found: Judgement, *, command: str) -> str:
    """The page of a storm that was judged."""
    plan = storm.plan
    outcome = "Everything held." if not found.wrong else f"**Not everything held:**\n\n```\n{told(found.wrong)}\n```"
    end = "until nothing was left to do" if storm.is_calm else "after which something was left to do"
    minutes = f"{plan.seconds / 60:.3g} min of blows, about one in {plan.every:.3g} s, then {storm.drained_in:.0f} s {end}"
    facts = "\n".join(f"- {line}" for line in (f"`{command}`, at {commit()}, seed {plan.seed}: {minutes}", *storm.ground))
    parts = [_INTRODUCTION, f"## The newest run\n\n{outcome}\n\n{facts}", _results(storm, found), _blows(storm), _memory(storm)]
    return _PLACE.sub("…", "\n\n".join(part.strip() for part in parts) + "\n")


def _results(storm: Storm, found: Judgement) -> str:
    executions = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(found.executions.items()))
    rows: list[Sequence[str]] = [
        ("alerts accepted (with repetitions and ends)", f"{len(storm.accepted):,}"),
        ("notifications of Alertmanager", f"{storm.notifications:,}"),
        ("entries that are no event, or forged", f"{storm.garbage:,}"),
        ("events in the event log", f"{found.events:,}"),
        ("incidents, all of them closed", f"{found.incidents:,}"),
        ("votes cast / approvals rejected", f"{storm.people.votes:,} / {found.rejected:,}"),
        ("dead letters", f"{found.dead:,}"),
        ("repairs after a failed execution", f"{found.repairs:,}"),
        ("outages of consumer groups that were found", f"{found.outages:,}"),
        ("Redis after the drain: memory / entries in all streams", f"{found.redis_size:.0f} MB / {found.redis_entries:,}"),
        ("executions by outcome", executions),
        ("effects on the recording world", f"{found.effects:,}"),
        ("effects on the control plane", f"{found.on_plane:,}" if storm.plane else "-"),
        ("**events lost**", f"**{found.lost}**"),
        ("**effects doubled**", f"**{found.doubled}**"),
        ("**effects missing that were told to have happened**", f"**{found.missing}**"),
        ("unknown whether it happened / of these put to people", f"{found.unknown} / {found.escalated}"),
    ]
    return f"""## What became of it

{grid(("", "counted"), rows)}

Also asked, and part of "everything held": no group has anything pending or unread, every output that a stage kept is in the event
log, every projection is, row by row, what a rebuild from the event log makes of it, no approval was left without an operation, at most
one repair was wanted for each cause of an incident and each has an end, people were asked about every outage of a group that was found,
and no process ended but by a blow."""


def _blows(storm: Storm) -> str:
    rows: list[Sequence[str]] = []
    replicas = Counter(actor.stage for actor in storm.cast.actors)
    for victim in (*PROCESSES, REDIS, POSTGRES):
        seconds = [waited for name, waited in storm.pulse.recovered if name == victim]
        figures = [f"{quantile(seconds, 0.5):.1f} s", f"{max(seconds):.1f} s"] if seconds else ["-", "-"]
        rows.append((victim, str(replicas[victim] or 1), str(storm.killed.get(victim, 0)), *figures))
    return f"""## What was killed

{grid(("", "processes", "killed", "handles again p50", "worst"), rows)}

"Handles again" is how long something waited after a kill until the group of the stage settled its next event, for a store until every
group did; looked at five times a second. A group with several processes goes on with the others at once. A process starts in some
seconds on a busy machine."""


def _memory(storm: Storm) -> str:
    times, more = MOST_GROWTH
    if not storm.plan.is_long:
        return "## Memory\n\nThe storm was too short to tell: it takes five minutes of blows."
    grown = growth(storm.cast.samples)
    rows: list[Sequence[str]] = []
    for name, share in SPARED.items():
        figures = [f"{size:.0f} MB" for size in grown[name]] if name in grown else ["-", "-"]
        rows.append((name, f"the last {1 - share:.0%} of the blows" if share else "always", *figures))
    return f"""## Memory

A process that is killed every few minutes is never old enough to tell whether it grows. So in a storm of five minutes and more one process
of each kind is spared: the first of several always, one that is alone of its kind in the last third. Judged is its resident memory from
its age of {WARM:.0f} s on, looked at every other second, until nothing is left to do: early is the median of the first third of that time,
late that of the last. Late may be at most {times:g} times early, or {more:g} MB more, whichever is larger.

{grid(("", "spared", "early", "late"), rows)}"""
