"""A process of Mendstream as it is in production, save that its cluster `default` is the recording world.

`python -m tests.chaos.storm.stage_process SETTINGS EFFECTS SEED STAGE`; the other clusters of the settings are what they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from adapters.ports import World
from adapters.worlds import Worlds
from ops import up
from ops.clock import now
from ops.settings import Settings, load
from tests.chaos.storm.effects import Effects, RecordingWorld


def main() -> int:
    settings_file, effects, seed, stage = sys.argv[1:]

    async def open_worlds(settings: Settings, *, sandbox: str = "", clock: Callable[[], datetime] = now) -> Worlds:
        clusters: dict[str, World] = {"default": RecordingWorld(Effects(Path(effects)), clock, seed=int(seed))}
        for name, cluster in settings.clusters.items():
            if name != "default":
                from adapters.kubernetes import connect

                clusters[name] = await connect(kubeconfig=cluster.kubeconfig, clock=clock)
        return Worlds(clusters=clusters, groups={}, cluster="default")

    setattr(up, "open_worlds", open_worlds)  # noqa: B010 - the one thing that differs from `python -m stages.STAGE`
    return up.run_one(load(Path(settings_file)), stage)


if __name__ == "__main__":
    sys.exit(main())
