"""What leaves this process for people's eyes, whichever way: without secrets and without control characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.text import clean, clean_value

VALUE_LIMIT = 20_000  # characters


def cleaned(value: Any, name: str = "") -> Any:
    """The same value with every text in it safe for a terminal and without secrets; `name` is what it is called."""
    if isinstance(value, str):
        return clean_value(name, value, VALUE_LIMIT)
    if isinstance(value, Mapping):
        return {clean(str(key), 200): cleaned(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [cleaned(item, name) for item in value]
    return value
