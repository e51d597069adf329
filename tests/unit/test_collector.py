"""The collector of cycles in a process that lives for months: it passes over what was loaded, and still finds what is new."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import gc, sys, weakref
from ops.process import spare_collector

class Knot:
    def __init__(self):
        self.itself = self

spare_collector()
assert not any(one is sys.modules["ops.process"].__dict__ for one in gc.get_objects()), "what was loaded is not looked through"
left = [weakref.ref(Knot()) for _ in range(100_000)]
print(sum(one() is not None for one in left))
"""


def test_what_was_loaded_is_not_looked_through_and_cycles_do_not_pile_up() -> None:
    """An answer that was cut off is held by the cycle of its error: few of them may wait for the collector at once."""
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2_000, "of 100,000 that nobody holds"
