"""How a recommendation reads, wherever it is shown: figures only, how sure they are, or that there are too few of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ops.cli.console import duration

if TYPE_CHECKING:
    from ops.facts.learning import Advice, Tried

_USUAL = {"restart": "a restart", "delete": "the deletion of a pod"}


def recommended(found: Advice) -> Iterator[str]:
    """What has mended a problem before: figures only, or that there are too few of them."""
    from sql.repairs import LEAST_RATE, LEAST_SAMPLES

    if found.usual:
        usual = ", else ".join(_USUAL[verb] for verb in found.usual)
        yield f"nothing is known yet; as a rule {usual}, which is a default and no finding"
    if not found.repairs and found.tried:
        yield f"nothing: of {found.tried} tried for this problem none {LEAST_SAMPLES} times with {LEAST_RATE:.0%} success"
    for place, one in enumerate(found.repairs):
        yield f"{'else ' if place else ''}{tried(one)}"


def tried(one: Tried) -> str:
    """`restart: 5 of 6 healed it before, 83% (44% to 97%), 1.5 s on average`."""
    took = f", {duration(one.seconds)} on average" if one.seconds is not None else ""
    return f"{one.verb}: {one.successes} of {one.samples} healed it before, {one.sure}{took}"
