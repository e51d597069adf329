"""The API does what its own document says, whatever it is sent: schemathesis asks it, over a real connection and on real stores."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from ops.settings import Settings
from ops.settings.model import ApiSettings
from ops.tokens import Role
from sql.database import Database
from stages.learn.stage import Learn
from tests.integration.bus.ground import running
from tests.integration.desk import desk
from tests.integration.scene import KEYS
from tests.integration.test_rest_events import served

pytestmark = pytest.mark.slow
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


async def test_schemathesis_finds_nothing(redis_url: str, database: Database, tmp_path: Path) -> None:
    async with desk(redis_url, database) as api:
        token = await api.let_in("ann", Role.ADMIN)
        await api.waiting()
        api.application = api.built(Settings(api=ApiSettings(rate=1_000_000, address_rate=1_000_000)))
        learn = Learn(database, KEYS)
        async with api.counting(), running(api.bus, learn, clock=lambda: api.scene.now), served(api) as url:
            asked = await asyncio.create_subprocess_exec(
                *(SCHEMATHESIS, "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {token}"),
                *("--exclude-path", "/v1/events"),  # its answer has no end: test_rest_events asks
                *("--checks", "all", "--max-examples", "15", "--seed", "1", "--request-timeout", "20"),
                *("--suppress-health-check", "all", "--generation-database", "none", "--continue-on-failure", "--no-color"),
                cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said = (await asked.communicate())[0].decode(errors="replace")
    assert asked.returncode == 0, said[-12_000:]
    assert "19 selected / 20 total" in said, said[:3000]
