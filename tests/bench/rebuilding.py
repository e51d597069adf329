"""`python -m tests.bench.rebuilding URL`: a process that rebuilds every projection, then compares each with the log.

It says `ready`, starts when told to, and prints a line for each: its name, the events read, the rows, the seconds of either, those for
which writers wait, and its own peak memory in MB so far.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from sql.database import Database
from sql.projections import NAMES
from sql.projections.rebuild import rebuild
from sql.projections.verify import verify
from tests.bench.ground import peak_memory


async def _run(url: str) -> None:
    database = await Database(url, size=2).open()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for name in NAMES:
        started = time.perf_counter()
        rebuilt = await rebuild(database, name)
        between = time.perf_counter()
        verified = await verify(database, name)
        seconds = (between - started, time.perf_counter() - between, rebuilt.held)
        memory = peak_memory(os.getpid())
        print(name, rebuilt.events, rebuilt.rows, *seconds, verified.differing, memory, flush=True)
    await database.close()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1]))
