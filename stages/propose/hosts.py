"""The templates for hosts: restart the unit or the container that the alert names, when it is seen to be down."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

import msgspec

from schemas.action import Investigate, RestartContainer, RestartUnit, unit_name, why_not_restarted
from schemas.diagnosis import unit_finding
from schemas.evidence import UnitView
from schemas.target import Kind, Target
from schemas.text import clean
from schemas.words import Health
from stages.propose.case import Case, Suggestion

_UNIT_LABELS = ("unit", "systemd_unit", "service", "name")
_CONTAINER_LABELS = ("container", "container_name")


class _Named(msgspec.Struct, frozen=True):
    """What the labels name: the sensor that sees it, its name as they have it, and its name in full."""

    sensor: str
    name: str
    full: str


def parts_named(target: Target, labels: Mapping[str, str]) -> tuple[str, ...]:
    """The unit or container of a host that the labels name, so that a look leaves it out in no case."""
    named = _named(labels) if target.kind is Kind.HOST else None
    return (named.full,) if named is not None else ()


def suggest_for_host(case: Case) -> Suggestion:
    """A restart of the one unit or container that the labels name and that is down; else Investigate. Raises nothing."""
    named = _named(case.labels)
    if named is None:
        down = [unit.name for unit in case.snapshot.units if unit_finding(unit).health is Health.UNHEALTHY]
        seen = f"Down are: {', '.join(down[:5])}." if down else "Nothing on it was seen to be down."
        return _look(case, f"The alert names no unit and no container of the host. {seen}", f"What should be done about {case.target}?")
    if not case.snapshot.saw(named.sensor):
        return _look(case, f"The {named.sensor} of {case.target} could not be looked at.", f"How is {named.name} on {case.target}?")
    unit = _unit(case, named)
    if unit is None:
        near = get_close_matches(named.name, [one.name for one in case.snapshot.units], n=3)
        hint = f" The nearest names: {', '.join(near)}." if near else ""
        return _look(case, f"{named.name} was not seen on {case.target}.{hint}", f"Which unit or container of {case.target} is meant?")
    finding = unit_finding(unit)
    if finding.health is Health.PROGRESSING:
        return _look(case, f"{unit.name} is {finding.reason}: it is being started or stopped.", f"Does {unit.name} come up by itself?")
    if finding.health is Health.UNKNOWN:
        return _look(case, f"{unit.name} on {case.target} is {finding.reason}.", f"Is anything wrong with {unit.name}?")
    if finding.health is not Health.UNHEALTHY:
        return _look(case, f"{unit.name} is {finding.reason}: it has healed meanwhile, or something else is wrong.", "")
    if named.sensor == "units" and (why := why_not_restarted(unit.name)):
        return _look(case, f"{unit.name} on {case.target} is {finding.reason}. {why}.", f"What should be done about {unit.name}?")
    reasons = (f"{unit.name} on {case.target} is {finding.reason}.", "A restart brings it back.")
    return Suggestion(action=_restart(case.target, named), reasons=reasons, confidence=0.6)


def named_unit(case: Case) -> UnitView | None:
    """The unit or container that the labels name, as it was seen; None where they name none, or it was not seen."""
    named = _named(case.labels)
    return _unit(case, named) if named else None


def _named(labels: Mapping[str, str]) -> _Named | None:
    for label in _UNIT_LABELS:
        name = labels.get(label, "")
        if name and (name.endswith(".service") or label in ("unit", "systemd_unit")):
            return _Named("units", name, unit_name(name))
    for label in _CONTAINER_LABELS:
        if name := labels.get(label, ""):
            return _Named("containers", name, name)
    return None


def _unit(case: Case, named: _Named) -> UnitView | None:
    """The unit or container of exactly that name: a container may be called as a unit is without its suffix."""
    return next((unit for unit in case.snapshot.units if unit.name == named.full), None)


def _restart(target: Target, named: _Named) -> RestartUnit | RestartContainer:
    if named.sensor == "units":
        return RestartUnit(target=target, unit=named.full)
    return RestartContainer(target=target, container=named.full)


def _look(case: Case, reason: str, question: str) -> Suggestion:
    reason = clean(reason, 600)
    return Suggestion(
        action=Investigate(target=case.target, reason=reason), reasons=(reason,), confidence=0.5, question=clean(question, 600)
    )
