"""A process of Mendstream as it is in production, save that its world is the no-op world.

`python -m tests.bench.stage_process SETTINGS STAGE …` runs one stage, or, with no stage named, all of them as `mend up` does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from adapters.worlds import Worlds
from ops import up
from ops.clock import now
from ops.settings import Settings, load
from tests.bench.noop_world import NoopWorld


def main() -> int:
    stages = tuple(sys.argv[2:])

    async def open_worlds(settings: Settings, *, sandbox: str = "", clock: Callable[[], datetime] = now) -> Worlds:
        world = await NoopWorld.made(clock, well=stages == ("verify",))
        return Worlds(clusters={"default": world}, groups={}, cluster="default")

    setattr(up, "open_worlds", open_worlds)  # noqa: B010 - the one thing that differs from `mend up`
    return up.run_up(load(Path(sys.argv[1])), up.Choices(stages=stages, embed=False))


if __name__ == "__main__":
    sys.exit(main())
