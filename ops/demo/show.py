"""`mend demo`: the stories in order, a summary, and an exit code that is 0 only when everything happened as told."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from time import monotonic

from bus.connect import connect
from ops.demo.feed import Feed
from ops.demo.narrator import tell
from ops.demo.pipeline import Pipeline
from ops.demo.screen import Screen
from ops.demo.stories import NAMESPACE, Ending, Stage, outage, rollout, wedge
from ops.sandbox import Kubectl
from schemas.event import Event

_SETTINGS = """\
# Automatic where risk and blast radius allow it, and no patience where a real cluster would need some.
[gate]
mode = "auto"

[verify]
settle = 1.0
interval = 0.5
limit = 8.0
hold_down = 0.0
"""


def run_demo(*, keep: bool) -> int:
    """Runs the demo; `keep` leaves everything up until Ctrl-C. Returns 0. Raises DemoFailed with the step that went wrong."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # a terminal that is closed leaves nothing running either
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_demo(Screen(sys.stdout), keep=keep))
    return 0


async def _demo(screen: Screen, *, keep: bool) -> None:
    began = monotonic()
    folder = Path(tempfile.mkdtemp(prefix="mend-demo-"))
    pipeline = Pipeline(folder, _SETTINGS, arguments=("--sandbox",))
    told = False
    try:
        screen.title("Mendstream demo: real stages, real Redis and Postgres, a simulated cluster.")
        await pipeline.start()
        screen.say(f"  up after {monotonic() - began:.1f} s, alerts go to {pipeline.api}/v1/alertmanager")
        endings = await _stories(pipeline, screen)
        await _summary(pipeline, screen, endings)
        screen.say(f"\nDone in {monotonic() - began:.1f} s.")
        told = True
        if keep:
            _look_around(pipeline, screen, endings)
            await pipeline.wait()
    finally:
        await pipeline.stop()
        if told:
            shutil.rmtree(folder, ignore_errors=True)


async def _stories(pipeline: Pipeline, screen: Screen) -> list[Ending]:
    assert pipeline.run is not None
    bus = await connect(pipeline.run.redis.reveal(), name="demo")
    kubectl = await Kubectl.at(server=pipeline.sandbox)

    def show(event: Event) -> None:
        line = tell(event)
        if line is not None:
            screen.event(event.at, line)

    feed = Feed(bus, show)
    follower = asyncio.create_task(feed.follow())
    try:
        await kubectl.namespace(NAMESPACE)
        stage = Stage(pipeline, feed, kubectl, screen)
        return [await rollout(stage), await wedge(stage), await outage(stage)]
    finally:
        follower.cancel()
        await asyncio.wait([follower])
        await kubectl.close()
        await bus.close()


async def _summary(pipeline: Pipeline, screen: Screen, endings: list[Ending]) -> None:
    screen.title("Summary")
    rows = [
        (ending.title, ending.action, ending.verdict.value, f"{ending.seconds:.1f} s", f"{ending.trust_before} → {ending.trust_after}")
        for ending in endings
    ]
    screen.rows(("story", "action", "verdict", "alert → verdict", "trust"), rows)
    screen.title("One incident, cause by cause")
    screen.command(f"mend trace {endings[0].incident}")
    screen.say(await pipeline.mend("trace", endings[0].incident))


def _look_around(pipeline: Pipeline, screen: Screen, endings: list[Ending]) -> None:
    screen.title("It stays up until Ctrl-C. Look around from another terminal:")
    screen.command(f"export MEND_CONFIG={pipeline.settings}")
    commands = (
        *("mend incidents ls", f"mend trace {endings[1].incident}", "mend approvals ls --state all", "mend trust ls"),
        *("mend streams ls", "mend streams tail executions", "mend dead ls", "mend doctor"),
    )
    for command in commands:
        screen.command(command)
    screen.say(f"  webhook      {pipeline.api}/v1/alertmanager (its token is in mend.toml)")
    screen.say(f"  OpenAPI      {pipeline.api}/openapi.json")
    screen.say(f"  cluster      {pipeline.sandbox} (kubectl --server {pipeline.sandbox} get pods -n {NAMESPACE})")
