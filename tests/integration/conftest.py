"""What tests of stages on a simulated cluster begin with; a module that needs another scene has its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from schemas.target import Target
from sql.database import Database
from stages.failure_watch.stage import FailureWatch
from tests.integration.healing import Healing, Unsteady, healing_scene


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Healing]:
    async with healing_scene(database) as scene:
        yield scene


@pytest.fixture
def world(scene: Healing) -> Unsteady:
    return Unsteady(scene.world)


@pytest.fixture
async def target(scene: Healing) -> Target:
    return await scene.deploy("api", "sim/web:ok")


@pytest.fixture
def watch(database: Database) -> FailureWatch:
    return FailureWatch(database)
