"""Kubernetes quantities, such as 64Mi and 250m, as numbers."""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{0,9})?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_FACTORS: dict[str, Decimal] = {"": Decimal(1), "m": Decimal("1e-3"), "u": Decimal("1e-6"), "n": Decimal("1e-9")}
_FACTORS |= {letter: Decimal(1000**power) for power, letter in enumerate("kMGTPE", 1)}
_FACTORS |= {f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGTPE", 1)}


def exact(quantity: object) -> Decimal | None:
    """A quantity in whole units, such as bytes or cores; None for what is none, negative ones and those with an exponent included."""
    match = _QUANTITY.fullmatch(str(quantity)) if quantity is not None else None
    return Decimal(match[1]) * _FACTORS[match[2] or ""] if match else None


def number_of(quantity: object) -> int | None:
    """A quantity rounded up to whole units; None for what is none."""
    value = exact(quantity)
    return None if value is None else int(value.to_integral_value(rounding="ROUND_CEILING"))
