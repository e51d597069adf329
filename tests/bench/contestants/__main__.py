"""One contestant in a process of its own: `python -m tests.bench.contestants NAME COURSE`.

Says `ready` when everything is imported, starts when a line comes in, and ends with one line of JSON: seconds, processor
seconds and peak memory of this process.
"""

from __future__ import annotations

import asyncio
import importlib
import resource
import sys
import time
from collections.abc import Awaitable, Callable

import msgspec

from tests.bench.contestants.course import Course, Lap

RUNNERS = {
    "bare": "bare.run",
    "plain": "bare.run_plain",
    "bytes": "bare.run_bytes",
    "ours": "ours.run",
    "multi": "client.run_multi",
    "single": "client.run_single",
    "faststream": "faststream_peer.run_single",
    "faststream best": "faststream_peer.run_best",
}


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    name, course = sys.argv[1], msgspec.json.decode(sys.argv[2], type=Course)
    module, function = RUNNERS[name].split(".")
    run: Callable[[Course], Awaitable[None]] = getattr(importlib.import_module(f"tests.bench.contestants.{module}"), function)
    print("ready", flush=True)
    sys.stdin.readline()
    used, started = processor_seconds(), time.perf_counter()
    asyncio.run(run(course))  # type: ignore[arg-type]
    lap = Lap(
        seconds=time.perf_counter() - started,
        processor=processor_seconds() - used,
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
    print(msgspec.json.encode(lap).decode(), flush=True)


if __name__ == "__main__":
    main()
