"""Questions of playbooks to Prometheus: PromQL with look-ups in place of label values, and nothing else.

A look-up stands within double quotes and is written in only as `[a-zA-Z0-9_.:-]{1,128}`; any other value is never quoted into PromQL:
then the question is not asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from schemas.facts import Facts
from schemas.playbook_steps import type_of

_VALUE = re.compile(r"[a-zA-Z0-9_.:-]{1,128}")
_LOOK_UP = re.compile(r"\{((?:labels|target|evidence)\.[^{}\"]*)\}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def faults_of_query(text: str) -> Iterator[tuple[str, int]]:
    """What is wrong with the look-ups of a question: why, and at which character. Whether it is PromQL is for Prometheus to say."""
    quoted = {place for string in _STRING.finditer(text) for place in range(string.start(), string.end())}
    if text.count('"') % 2:
        yield "a double quote is not closed", text.rfind('"')
    for found in _LOOK_UP.finditer(text):
        if found.start() not in quoted:
            yield f"the look-up {found[0]} stands outside double quotes: it may only be the value of a label", found.start()
            continue
        try:
            type_of(found[1])
        except ValueError as error:
            yield str(error), found.start()


def written_in(text: str, facts: Facts) -> str:
    """The question with its values. Raises ValueError where one is not known, or may not be written into PromQL."""

    def value(found: re.Match[str]) -> str:
        known = facts.get(found[1])
        if known is None:
            raise ValueError(f"{found[1]} is not known")
        if _VALUE.fullmatch(str(known)) is None:
            raise ValueError(f"{found[1]} has characters that are not written into PromQL")
        return str(known)

    return _LOOK_UP.sub(value, text)
