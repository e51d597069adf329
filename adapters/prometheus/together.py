"""What several answers about one alert mean together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.prometheus.state import Answer

_MASKED = "***"  # what `schemas.text` writes over a secret


def one_of(answers: Sequence[Answer]) -> bool | None:
    """What those of one kind say: yes when one does, no when one does and none says yes."""
    said = {answer.fires for answer in answers}
    return True if True in said else False if False in said else None


def fires(rules: Sequence[Answer], heard: Sequence[Answer]) -> bool | None:
    """What all say: no is not said while a Prometheus is away, for Alertmanager forgets what it does not hear of.

    Nor is it where no rule says so while another Alertmanager is away, which may have it.
    """
    if (found := one_of((*rules, *heard))) is not False:
        return found
    needed = rules if one_of(rules) is False else (*rules, *heard)
    return None if any(answer.away for answer in needed) else False


def kept(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that are known as they were told: one that looked like a secret was masked and tells nothing."""
    return {name: value for name, value in labels.items() if _MASKED not in value}
