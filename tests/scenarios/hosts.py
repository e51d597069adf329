"""A service on a host behind a real sshd that is really down: restarted and well, or restarted in vain."""

from __future__ import annotations

import asyncio
import sys

from schemas.action import RestartUnit
from schemas.target import Kind, Target
from tests.e2e.sshd import TestHost, until
from tests.scenarios.scenario import Ended, Stand, healed, judged_as_useless, scenario
from tests.scenarios.story import Story
from tests.scenarios.witness import Expected, Write

_UNIT = "demo.service"
_DIES = """
import http.server, os, threading
threading.Timer({seconds}, os._exit, [1]).start()
http.server.HTTPServer(("127.0.0.1", {port}), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


async def crashed(host: TestHost) -> None:
    """The unit ran, and its process has been killed."""
    start = await asyncio.create_subprocess_exec(host.folder / "bin" / "systemctl", "restart", _UNIT)
    assert await start.wait() == 0
    assert await host.answers()
    host.kill_unit()
    await until(lambda: not host.is_serving(), "the unit is down")


async def restart_proposed(stand: Stand) -> Story:
    """The story of the alert about the unit, up to the proposal to restart it."""
    host = Target(cluster="hosts", kind=Kind.HOST, name=stand.place.namespace)
    story = await stand.fire("SystemdUnitFailed", host, cluster="hosts", unit=_UNIT)
    story.expected = restarted(host)
    action = await story.proposed(RestartUnit)
    assert action.unit == _UNIT
    return story


def restarted(host: Target) -> Expected:
    """Exactly one restart, of that unit, and nothing else on the host."""
    return Expected(writes=(Write(about=f"Host {host.name}", holds=lambda spec: set(spec["restarts"]) == {_UNIT}, revisions=0),))


@scenario("service down on a host", host=True)
async def unit_down(stand: Stand) -> Ended:
    await crashed(stand.place.hosts[stand.place.namespace])
    story = await restart_proposed(stand)
    return await healed(story, "restarted over SSH", story.expected)


@scenario("service down on a host, and soon again after its restart", twin=True, host=True)
async def unit_dies_again(stand: Stand) -> Ended:
    host = stand.place.hosts[stand.place.namespace]
    await crashed(host)
    host.write_unit(command=[sys.executable, "-c", _DIES.format(seconds=4, port=host.unit_port)], invocation="crashed")
    story = await restart_proposed(stand)
    return await judged_as_useless(story, "restarted over SSH", story.expected)


@scenario("service down on a host, which does not start any more", twin=True, host=True)
async def unit_stays_down(stand: Stand) -> Ended:
    host = stand.place.hosts[stand.place.namespace]
    await crashed(host)
    (host.state / "broken").touch()
    story = await restart_proposed(stand)
    return await judged_as_useless(story, "tried once over SSH", story.expected)
