"""The projections: tables that are folds over the event log, and can be dropped and built again from it.

A new one is a module in `sql` and a line in `ALL`.
"""

from __future__ import annotations

from sql import declarations, diagnoses, feedback, knowledge, lessons, playbook_statistics, recurrence, repairs, trust
from sql.projections.projection import Projection

ALL: tuple[Projection, ...] = (
    Projection(
        name="trust",
        types=feedback.TRUST_TYPES,
        tables=trust.TABLES,
        keep=feedback.keep_trust,
        fold=trust.fold_keys,
        newest="SELECT event, at FROM trust_ledger",
    ),
    Projection(
        name="playbooks",
        types=playbook_statistics.TYPES,
        tables=playbook_statistics.TABLES,
        keep=playbook_statistics.keep,
        fold=playbook_statistics.fold_keys,
        newest="SELECT event, at FROM playbook_ledger",
    ),
    Projection(
        name="repairs",
        types=repairs.TYPES,
        tables=repairs.TABLES,
        keep=repairs.keep,
        fold=repairs.fold_keys,
        newest="SELECT execution, executed_at FROM repair_ledger UNION ALL SELECT verification, verified_at FROM repair_ledger",
    ),
    Projection(
        name="recurrence",
        types=recurrence.TYPES,
        tables=recurrence.TABLES,
        keep=recurrence.keep,
        fold=recurrence.fold_keys,
        newest="SELECT event, at FROM recurrence_ledger",
    ),
    Projection(
        name="lessons",
        types=lessons.TYPES,
        tables=lessons.TABLES,
        keep=lessons.keep,
        newest="SELECT execution, executed_at FROM lessons UNION ALL SELECT verification, verified_at FROM lessons",
    ),
    Projection(
        name="knowledge",
        types=knowledge.TYPES,
        tables=knowledge.TABLES,
        keep=knowledge.keep,
        fold=knowledge.fold_keys,
        newest="SELECT event, at FROM knowledge_ledger",
    ),
    Projection(
        name="diagnoses",
        types=diagnoses.TYPES,
        tables=diagnoses.TABLES,
        keep=diagnoses.take,
        newest="SELECT event, at FROM diagnoses",
    ),
    Projection(
        name="declarations",
        types=declarations.TYPES,
        tables=declarations.TABLES,
        keep=declarations.take,
        newest="SELECT event, at FROM declarations",
    ),
)
NAMES: tuple[str, ...] = tuple(projection.name for projection in ALL)


class UnknownProjection(ValueError):
    """There is no projection of that name; the message lists those that there are."""


def named(name: str) -> Projection:
    """The projection of this name. Raises UnknownProjection."""
    for projection in ALL:
        if projection.name == name:
            return projection
    raise UnknownProjection(f"there is no projection {name!r}: there are {', '.join(NAMES)}")
