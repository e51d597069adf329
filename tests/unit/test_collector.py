"""The collector of cycles in a process that lives for months: it looks seldom, and still finds them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import gc, weakref
from ops.process import spare_collector

class Knot:
    def __init__(self):
        self.itself = self

spare_collector()
assert gc.get_freeze_count() > 0
looks = gc.get_stats()[0]["collections"]
kept = [Knot() for _ in range(10_000)]
assert gc.get_stats()[0]["collections"] == looks, "what is in hand at once is not looked through"
del kept
left = [weakref.ref(Knot()) for _ in range(100_000)]
alive = sum(one() is not None for one in left)
print(alive)
"""


def test_what_is_in_hand_is_not_looked_through_and_cycles_do_not_pile_up() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30_000, "of 100,000 that nobody holds"
