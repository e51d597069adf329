"""What the benchmark says of the memory and the processor time of processes is itself tested."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.bench.ground import forget_peak, machine, of_family, peak_memory, processor_time

_BUSY = "import time\nwhile time.process_time() < 0.3: pass"


def test_a_peak_of_memory_is_forgotten() -> None:
    own = os.getpid()
    forget_peak(own)
    before = peak_memory(own)
    held = b"x" * (64 << 20)
    high = peak_memory(own)
    assert high > before + 32
    del held
    assert peak_memory(own) > before + 32
    forget_peak(own)
    assert peak_memory(own) < high - 32


def test_a_family_is_a_process_and_its_living_children() -> None:
    own = os.getpid()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert {own, child.pid} <= set(of_family(own, lambda pid: pid))
        assert child.stdin is not None
        child.stdin.close()
    assert child.pid not in of_family(own, lambda pid: pid)


def test_the_processor_time_of_a_child_counts_when_it_has_ended() -> None:
    before = processor_time(os.getpid())
    subprocess.run([sys.executable, "-S", "-c", _BUSY], check=True)
    assert processor_time(os.getpid()) >= before + 0.25


def test_the_machine_is_told_with_the_version_of_its_postgres() -> None:
    (stores,) = [line for line in machine(()) if line.startswith("Python ")]
    assert " and Postgres 1" in stores
