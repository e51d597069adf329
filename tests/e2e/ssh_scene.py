"""A host of the tests with something to do for every tool, and the actions that do it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.ports import Applied, Preflight
from adapters.ssh.world import HostsWorld
from schemas.action import (
    Action,
    PruneImages,
    PruneSystem,
    PruneVolumes,
    ReloadNginx,
    RenewCertificates,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    TruncateContainerLog,
)
from schemas.preflight import Check
from schemas.target import Kind, Target
from tests.e2e.nginx import NGINX
from tests.e2e.sshd import TestHost

TARGET = Target(cluster="hosts", kind=Kind.HOST, name="web-1")
UNIT = RestartUnit(target=TARGET, unit="demo.service")
CONTAINER = RestartContainer(target=TARGET, container="web")
SERVICE = RestartComposeService(target=TARGET, service="api")
LOG = TruncateContainerLog(target=TARGET, container="web")
RENEW = RenewCertificates(target=TARGET)
RELOAD = ReloadNginx(target=TARGET)
IMAGES = PruneImages(target=TARGET)
VOLUMES = PruneVolumes(target=TARGET)
SYSTEM = PruneSystem(target=TARGET)
CHORES: tuple[Action, ...] = (LOG, RENEW, RELOAD, IMAGES)
WRITES: tuple[Action, ...] = (UNIT, CONTAINER, SERVICE, *CHORES)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")
OPERATION = "018f0000-0000-7000-8000-000000000001"


def furnish(host: TestHost) -> None:
    """Something to do for every tool; for nginx where it is installed."""
    project = host.state / "shop"
    project.mkdir()
    (project / "services").write_text("api\ndb\nidle\n")
    for name in ("api", "db"):
        host.write_container(f"shop-{name}-1", project="shop", service=name)
    host.log_of("c0ffee").write_text("a line of the log\n" * 100)
    (host.state / "certificates" / "a.example").write_text("due")
    (host.state / "certificates" / "b.example").write_text("due")
    if NGINX is not None:
        host.nginx.start()
    (host.state / "images").write_text("sha256:" + "a" * 64 + "\nsha256:" + "b" * 64)
    (host.state / "volumes").write_text("shop_data\nold_data")


def world_of(host: TestHost, **changed: Any) -> HostsWorld:
    options = host.options(**{"compose": {"shop": str(host.state / "shop")}, **changed})
    return HostsWorld({"web-1": options}, clock=lambda: datetime.now(UTC))


def named(preflight: Preflight, name: str) -> Check:
    return next(check for check in preflight.checks if check.name == name)


async def done(world: HostsWorld, action: Action) -> Applied:
    """The action as execute runs it: looked at, then applied to what was seen."""
    return await world.apply(action, operation=OPERATION, token=1, uid=(await world.preflight(action)).uid)
