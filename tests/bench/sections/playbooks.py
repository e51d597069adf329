"""How long it takes to find the playbook that fits, among ten thousand."""

from __future__ import annotations

import itertools
import time

import msgspec

from ops.catalogue import built_in, read_all
from schemas.playbook import Playbook
from schemas.words import Severity
from sql.playbooks import PlaybookRow
from stages.propose.options import ProposeOptions
from stages.propose.playbooks.index import Index
from stages.propose.playbooks.source import subject_of, suggest
from tests.bench.ground import median
from tests.bench.table import Section, below
from tests.unit.playbook_cases import case, row
from tests.unit.snapshots import pod, snapshot

COUNT = 10_000
SAMPLES = 300
_WHAT = ("Kube", "Node", "Shop", "Pay", "Search", "Queue", "Disk", "Mail")
_PART = ("Pod", "Api", "Job", "Host", "Cache")
_STATE = ("Slow", "Down", "Full", "Crash")


async def measure() -> Section:
    section = Section(
        title="Playbooks",
        how=f"Among {COUNT:,} approved playbooks, one in a hundred of which names its alerts by a regular expression, the one that fits an"
        f" incident with two alerts is found, with its near misses, and its action is built: {SAMPLES} times. Before that they are put in"
        " order, as once after each change of any of them.",
        columns=("", "median", "slowest"),
    )
    rows = [*_many(), *(row(playbook) for playbook in read_all(built_in()))][-COUNT:]
    started = time.perf_counter()
    index = Index(rows)
    ordering = (time.perf_counter() - started) * 1000
    options = ProposeOptions()
    seen = snapshot(pod("a", "crash"), pod("b"))
    about = case(seen, "KubePodCrashLooping", "ShopApiSlow7", severity=Severity.P2, namespace="shop")
    took = []
    for _ in range(SAMPLES):
        started = time.perf_counter()
        matches = index.match(subject_of(about, options), options.similarity)
        suggestion = suggest(matches.fitting, about)
        took.append((time.perf_counter() - started) * 1000)
        if suggestion is None:
            section.broken.append("no playbook was found")
            break
    section.rows = [("match and build", f"{median(took):.2f} ms", f"{max(took):.2f} ms"), ("put in order", f"{ordering:.0f} ms", "")]
    section.wanted = [below(f"one of {COUNT:,} playbooks found, median", 20, median(took), " ms")]
    return section


def _many() -> list[PlaybookRow]:
    """Playbooks for as many alerts, whose names have their words in common."""
    words = itertools.cycle("".join(parts) for parts in itertools.product(_WHAT, _PART, _STATE))
    plain = read_all(built_in())[0]
    return [row(_for(plain, number, word)) for number, word in zip(range(COUNT), words, strict=False)]


def _for(plain: Playbook, number: int, word: str) -> Playbook:
    name = f'=~"{word}.*{number}"' if number % 100 == 0 else f'="{word}{number}"'
    symptoms = msgspec.structs.replace(plain.symptoms, alerts=(f'alertname{name}, namespace=~"shop|pay"',), severities=tuple(Severity))
    return msgspec.structs.replace(plain, name=f"p-{number}", symptoms=symptoms)
